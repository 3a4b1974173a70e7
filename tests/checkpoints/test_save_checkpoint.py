import keras
import numpy as np
import pytest

from su_models.checkpoints import (
    load_checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from tests.checkpoints.small import assert_equal, randomize, small_bert


@pytest.mark.parametrize("format", ["tf1", "safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_out_and_back_is_equal_to_the_bit(tmp_path, format, dtype):
    model = small_bert(3, dtype=dtype)
    randomize(model)
    weights = [keras.ops.cast(w, "float32") for w in model.weights]
    weights = [keras.ops.convert_to_numpy(w) for w in weights]
    save_checkpoint(model, tmp_path / "a", format=format)
    with open_checkpoint(tmp_path / "a") as checkpoint:
        assert checkpoint.format == format
        assert len(checkpoint) == len(model.weights)
        assert {checkpoint.dtype(name) for name in checkpoint} == {dtype}
    again = small_bert(3, dtype=dtype)
    assert load_checkpoint(again, tmp_path / "a") == []
    assert_equal(again, weights)


def test_the_format_follows_the_name(tmp_path):
    model = small_bert(1, heads=False)
    for name, format in (("a.safetensors", "safetensors"), ("b.ckpt", "tf1")):
        save_checkpoint(model, str(tmp_path / name), "bert")
        with open_checkpoint(tmp_path / name) as checkpoint:
            assert checkpoint.format == format


def test_layers_may_have_a_prefix(tmp_path):
    model = small_bert(1, prefix="my-")
    weights = randomize(model)
    save_checkpoint(model, tmp_path / "a", prefix="my-")
    again = small_bert(1)
    load_checkpoint(again, tmp_path / "a")
    assert_equal(again, weights)


def test_from_one_form_to_the_other(tmp_path):
    model = small_bert()
    weights = randomize(model)
    save_checkpoint(model, tmp_path / "a")
    middle = small_bert()
    load_checkpoint(middle, tmp_path / "a")
    save_checkpoint(middle, tmp_path / "b.safetensors")
    last = small_bert()
    load_checkpoint(last, tmp_path / "b.safetensors")
    assert_equal(last, weights)


def test_weights_without_a_name_are_refused(tmp_path):
    base = small_bert(1, heads=False)
    task = keras.layers.Dense(3, name="Task")(base.output)
    model = keras.Model(base.inputs, task)
    path = tmp_path / "a"
    path.with_name("a.index").write_text("old")
    for family in (None, "bert"):
        with pytest.raises(ValueError, match="there: .'Task/kernel', 'Task/b"):
            save_checkpoint(model, path, family)
    assert path.with_name("a.index").read_text() == "old"


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({"format": "llama2.c"}, "format='llama2.c'"),
        ({"family": "bart"}, "family='bart'"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        save_checkpoint(small_bert(1), tmp_path / "a", **options)


def test_nothing_is_changed_by_saving(tmp_path):
    model = small_bert()
    weights = randomize(model)
    save_checkpoint(model, tmp_path / "a.safetensors")
    assert_equal(model, weights)
    assert all(np.isfinite(w).all() for w in weights)
