import os
import pathlib
import re
import shutil
import tracemalloc

import keras
import numpy as np
import pytest

from su_models.checkpoints import (
    load_checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from su_models.checkpoints.safetensors_file import write_safetensors
from su_models.checkpoints.tf1 import write_tf1
from tests.checkpoints.families.test_registry import model_of
from tests.checkpoints.small import (
    HIDDEN,
    assert_equal,
    randomize,
    small_bert,
    weights_of,
)

WORDS = "bert/embeddings/word_embeddings"
KERNEL = "bert/encoder/layer_1/attention/self/query/kernel"


def arrays_of(path):
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint)


def tf1(path, arrays):
    write_tf1(path, {name: lambda a=a: a for name, a in arrays.items()})
    return path


def safetensors(path, arrays):
    write_safetensors(
        path,
        {n: (a.shape, a.dtype.name, lambda a=a: a) for n, a in arrays.items()},
    )
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Names and arrays as Google has them, and the weights they are."""
    folder = tmp_path_factory.mktemp("saved")
    model = small_bert()
    weights = randomize(model)
    save_checkpoint(model, folder / "a")
    save_checkpoint(model, folder / "a.safetensors")
    return (
        arrays_of(folder / "a"),
        weights,
        arrays_of(folder / "a.safetensors"),
    )


def refused(path, message, model=None, **options):
    """The load fails with this message, and the model stays as it is."""
    model = model or small_bert()
    before = randomize(model, seed=7)
    with pytest.raises(ValueError, match=message) as error:
        load_checkpoint(model, path, **options)
    assert "Received: " in str(error.value)
    assert_equal(model, before)


def test_weights_are_those_of_the_checkpoint(saved, tmp_path):
    arrays, weights, torch = saved
    for path in (
        tf1(tmp_path / "a", arrays),
        safetensors(tmp_path / "b", torch),
    ):
        for family in (None, "bert"):
            model = small_bert()
            assert load_checkpoint(model, path, family) == []
            assert_equal(model, weights)


def test_heads_and_transposition(saved):
    arrays, _, torch = saved
    kernel = arrays["bert/encoder/layer_1/output/dense/kernel"]
    np.testing.assert_array_equal(
        torch["bert.encoder.layer.1.output.dense.weight"], kernel.T
    )
    assert arrays[KERNEL].shape == (HIDDEN, HIDDEN)
    following = arrays["cls/seq_relationship/output_weights"]
    assert following.shape == (2, HIDDEN)
    np.testing.assert_array_equal(
        torch["cls.seq_relationship.weight"], following
    )


def test_a_model_may_have_less(saved, tmp_path):
    arrays, weights, _ = saved
    path = tf1(tmp_path / "a", {**arrays, "global_step": np.array(3)})
    model = small_bert(1, heads=False)
    unused = load_checkpoint(model, path)
    assert_equal(model, weights[: len(model.weights)])
    assert {name.split("/")[0] for name in unused} == {"bert", "cls"}
    assert KERNEL in unused and "global_step" not in unused
    assert len(unused) == len(arrays) - len(model.weights)


def test_layers_of_a_task_keep_their_weights(saved, tmp_path):
    arrays, weights, _ = saved
    path = tf1(tmp_path / "a", arrays)
    base = small_bert(heads=False)
    task = keras.layers.Dense(3, name="Task")
    model = keras.Model(base.inputs, task(base.output))
    before = [np.array(w) for w in task.get_weights()]
    load_checkpoint(model, path)
    assert_equal(base, weights[: len(base.weights)])
    for ours, old in zip(task.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, old)


def test_layers_may_have_a_prefix(saved, tmp_path):
    arrays, weights, _ = saved
    path = tf1(tmp_path / "a", arrays)
    model = small_bert(prefix="my-")
    load_checkpoint(model, path, prefix="my-")
    assert_equal(model, weights)
    refused(path, "bert4keras' names", small_bert(prefix="my-"))


def test_old_and_short_names_of_hugging_face(saved, tmp_path):
    _, weights, torch = saved
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta")
        .removeprefix("bert."): array
        for name, array in torch.items()
    }
    old["embeddings.position_ids"] = np.arange(16)[None]
    model = small_bert()
    assert load_checkpoint(model, safetensors(tmp_path / "a", old)) == []
    assert_equal(model, weights)


def test_rows_of_another_vocabulary(saved, tmp_path):
    arrays, weights, _ = saved
    path = tf1(tmp_path / "a", arrays)
    kept = [3, 0, 7, 7]
    model = small_bert(vocabulary=len(kept))
    load_checkpoint(model, path, rows=lambda table: table[kept])
    whole = small_bert()
    load_checkpoint(whole, path)
    table = weights_of(whole)[0]
    np.testing.assert_array_equal(weights_of(model)[0], table[kept])
    bias = model.get_layer("MLM-Bias").get_weights()[0]
    expected = arrays["cls/predictions/output_bias"][kept]
    np.testing.assert_array_equal(bias, expected)
    refused(
        path,
        "`rows` must return 4 rows for `Embedding-Token/embeddings`",
        model,
        rows=lambda table: table[:3],
    )


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_floats_are_cast(saved, tmp_path, dtype):
    arrays, weights, _ = saved
    import ml_dtypes  # noqa: F401, gives NumPy bfloat16

    path = tf1(tmp_path / "a", {n: a.astype(dtype) for n, a in arrays.items()})
    model = small_bert()
    load_checkpoint(model, path)
    assert_equal(model, [w.astype(dtype).astype("float32") for w in weights])


def test_weights_keep_their_dtype(saved, tmp_path):
    arrays, weights, _ = saved
    path = tf1(tmp_path / "a", arrays)
    model = small_bert(dtype="float16")
    load_checkpoint(model, path)
    half = [w.astype("float16").astype("float32") for w in weights]
    assert_equal(model, half)
    assert {
        keras.backend.standardize_dtype(w.dtype) for w in model.weights
    } == {"float16"}
    large = tf1(tmp_path / "b", {**arrays, KERNEL: arrays[KERNEL] * 1e6})
    refused(
        large,
        f"`{KERNEL}` must be finite, in float16 too, for `Transformer-1-Multi",
        small_bert(dtype="float16"),
    )


def test_memory_holds_one_tensor_at_a_time(tmp_path):
    """Of safetensors alone: tracemalloc does not see TensorFlow's reader."""
    sizes = dict.fromkeys(("vocabulary", "segments", "positions"), 2**16)
    model = small_bert(1, heads=False, **sizes)  # three tensors of 1 MiB
    randomize(model)
    save_checkpoint(model, tmp_path / "a", format="safetensors")
    tracemalloc.start()
    load_checkpoint(model, tmp_path / "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # mostly 2, of the tensor and of what Keras' `assign` makes of it, at times
    # 3 on TensorFlow; it was 4.07 with all three tensors held
    assert peak < 3.5 * 2**20


def test_parts_of_a_tensor_are_read_once(saved, monkeypatch, tmp_path):
    names = []
    path = tf1(tmp_path / "a", saved[0])
    read = type(open_checkpoint(path))._read
    monkeypatch.setattr(
        type(open_checkpoint(path)),
        "_read",
        lambda self, name: names.append(name) or read(self, name),
    )
    load_checkpoint(small_bert(), path)
    # once to be checked, once to be assigned
    assert sorted(names) == sorted(2 * [*saved[0]])


# ---- what is refused, with the model unchanged


def test_a_missing_tensor_is_named(saved, tmp_path):
    arrays, _, _ = saved
    fewer = {n: a for n, a in arrays.items() if n != KERNEL}
    path = tf1(tmp_path / "a", fewer)
    refused(path, f"all 46 weights .*'bert'.* without 1: {KERNEL}")
    refused(path, f"without 17: {KERNEL}, bert/encoder/layer_2", small_bert(3))


@pytest.mark.parametrize("shape", [(4, 0), (3, 4)])
def test_a_tensor_that_cannot_be_resized_is_named(saved, tmp_path, shape):
    arrays, _, _ = saved
    path = tf1(tmp_path / "a", {**arrays, KERNEL: np.ones(shape, "float32")})
    shown = str(shape).replace("(", r"\(").replace(")", r"\)")
    refused(
        path,
        f"`{KERNEL}` cannot be resized for `Transformer-1-MultiHead.*: .*"
        f"Received: {shown} .*path={path}",
        autoresize_weights=True,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoresize_weights": 1}, "`autoresize_weights` must be a bool"),
        ({"ignore_invalid_weights": "no"}, "`ignore_invalid_weights` must be"),
        ({"rows": [3, 0]}, r"`rows` must be .*function.*rows=\[3, 0\]"),
    ],
)
def test_other_arguments_are_rejected(saved, tmp_path, options, message):
    refused(tf1(tmp_path / "a", saved[0]), message, **options)


@pytest.mark.parametrize("name", ["gpt2", "t5.1.1", "roformer", "nezha"])
def test_the_family_is_told_though_a_tensor_is_missing(name, tmp_path):
    model = model_of(name)
    save_checkpoint(model, tmp_path / "a")
    arrays = arrays_of(tmp_path / "a")
    missing = [n for n in arrays if re.search(r"\D1/|_001/", n)][0]
    del arrays[missing]
    path = tf1(tmp_path / "b", arrays)
    refused(path, f"'{name}'.* without 1: {missing}", model)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(saved, tmp_path, value):
    arrays, _, _ = saved
    bad = arrays[KERNEL].copy()
    bad[1, 2] = value
    path = tf1(tmp_path / "a", {**arrays, KERNEL: bad})
    message = f"`{KERNEL}` must be finite.*`Transformer-1-MultiHeadSelfAttentio"
    refused(path, message)


def test_what_is_not_used_may_be_anything(saved, tmp_path):
    arrays, weights, _ = saved
    more = {"other": np.full(3, np.nan), f"{KERNEL}/adam_m": np.full(3, np.inf)}
    path = tf1(tmp_path / "a", {**arrays, **more})
    model = small_bert()
    assert load_checkpoint(model, path) == ["other"]
    assert_equal(model, weights)


@pytest.mark.parametrize("shape", [(4, 5), (16,), (4, 4, 1), (1, 16)])
def test_another_shape_is_named(saved, tmp_path, shape):
    arrays, _, _ = saved
    path = tf1(tmp_path / "a", {**arrays, KERNEL: np.zeros(shape, "float32")})
    shown = str(shape).replace("(", r"\(").replace(")", r"\)")
    refused(
        path,
        rf"`{KERNEL}` must be of shape \(4, 4\), for `Transformer-1-Mult.*"
        rf"Received: {shown}",
    )


def test_another_vocabulary_is_named(saved, tmp_path):
    arrays, _, _ = saved
    path = tf1(tmp_path / "a", arrays)
    refused(
        path,
        rf"`{WORDS}` must be of shape \(20, 4\), .*vocabulary\?\). Rece.*\(15",
        small_bert(vocabulary=20),
    )


def test_integers_are_no_weights(saved, tmp_path):
    arrays, _, _ = saved
    whole = {**arrays, KERNEL: np.ones((4, 4), "int32")}
    path = tf1(tmp_path / "a", whole)
    refused(path, f"`{KERNEL}` must be of floats, .*Received: int32")


def test_damage_is_named(saved, tmp_path):
    arrays, _, _ = saved
    prefix = tf1(tmp_path / "a", arrays)
    data = pathlib.Path(f"{prefix}.data-00000-of-00001")
    content = data.read_bytes()
    data.write_bytes(content[:-100])
    refused(prefix, "The tensor `.*` cannot be read: .*path=")
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    data.write_bytes(flipped)
    refused(prefix, "The tensor `.*` cannot be read: .*hecksum")
    data.unlink()
    refused(prefix, "cannot be read: A checkpoint must have its data")


def test_another_family_is_named(tmp_path):
    path = tf1(tmp_path / "a", {"model/wte": np.ones((3, 4), "float32")})
    refused(path, "without 46: bert/embeddings/word_embeddings")
    path = tmp_path / "a"
    refused(path, "`family` must be one of", family="bart")


def test_a_model_without_such_layers_is_refused(saved, tmp_path):
    arrays, _, _ = saved
    path = tf1(tmp_path / "a", arrays)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    refused(path, r"bert4keras' names.*Received: layers \['dense", model)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(small_bert(), tmp_path / "nowhere")


@pytest.mark.data
def test_a_real_checkpoint_is_loaded():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    model = small_bert()
    assert load_checkpoint(model, folder / "keras_bert_toy") == []
    with open_checkpoint(folder / "keras_bert_toy") as checkpoint:
        np.testing.assert_array_equal(weights_of(model)[0], checkpoint[WORDS])
    ids = np.array([[2, 5, 6, 3]])
    following, tokens = model([ids, np.zeros_like(ids)])
    assert np.isfinite(keras.ops.convert_to_numpy(tokens)).all()
    assert following.shape == (1, 2)


@pytest.mark.data
def test_a_real_index_without_data_is_refused(tmp_path):
    source = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    source = source / "keras_bert_toy"
    shutil.copy(source / "bert_model.ckpt.index", tmp_path)
    refused(tmp_path / "bert_model.ckpt", "must have its data beside its index")
