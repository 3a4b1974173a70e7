import json
import os
import pathlib

import numpy as np
import pytest

from su_models.checkpoints import (
    convert_checkpoint,
    load_checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from su_models.checkpoints.families.registry import FAMILIES
from su_models.checkpoints.safetensors_file import write_safetensors
from su_models.checkpoints.tf1 import write_tf1
from tests.checkpoints.families.test_registry import model_of
from tests.checkpoints.small import randomize

NAMES = [name for name in FAMILIES if name != "albert_unshared"]


def arrays_of(path):
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint)


def tf1(path, arrays):
    write_tf1(path, {name: lambda a=a: a for name, a in arrays.items()})
    return path


def assert_same(path, other):
    ours, theirs = arrays_of(path), arrays_of(other)
    assert {*ours} == {*theirs}
    for name, array in ours.items():
        assert array.tobytes() == theirs[name].tobytes(), name


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_a_model_would_write(name, tmp_path):
    model = model_of(name)
    randomize(model)
    paths = tmp_path / "a", tmp_path / "a.safetensors"
    for path in paths:
        save_checkpoint(model, path, name)
    for source, target in (paths, paths[::-1]):
        new = tmp_path / f"new{target.suffix}"
        options = {"head_dim": 4} if name == "llama" else {}
        number, unused = convert_checkpoint(source, new, name, **options)
        assert unused == [] and number == len(arrays_of(target))
        assert_same(new, target)


@pytest.mark.parametrize(
    "name", ["bert", "albert", "gpt2", "electra", "t5.1.1"]
)
def test_the_family_is_told_by_the_names(name, tmp_path):
    model = model_of(name)
    save_checkpoint(model, tmp_path / "a")
    convert_checkpoint(tmp_path / "a", tmp_path / "b.safetensors")
    save_checkpoint(model, tmp_path / "c.safetensors")
    assert_same(tmp_path / "b.safetensors", tmp_path / "c.safetensors")


def test_names_of_several_families_must_be_told_apart(tmp_path):
    save_checkpoint(model_of("roformer"), tmp_path / "a")
    target = tmp_path / "b.safetensors"
    with pytest.raises(ValueError, match="several .*'nezha', 'roformer'"):
        convert_checkpoint(tmp_path / "a", target)
    assert not target.exists()
    convert_checkpoint(tmp_path / "a", target, "roformer")
    assert any(name.startswith("roformer.") for name in arrays_of(target))


def test_slots_are_left_out_and_others_named(tmp_path):
    save_checkpoint(model_of("bert"), tmp_path / "a")
    arrays = arrays_of(tmp_path / "a")
    more = {
        "bert/pooler/dense/kernel/adam_m": np.ones(3),
        "task/kernel": np.ones(3),
    }
    write_tf1(
        tmp_path / "b",
        {n: lambda a=a: a for n, a in {**arrays, **more}.items()},
    )
    number, unused = convert_checkpoint(tmp_path / "b", tmp_path / "c")
    assert number == len(arrays) and unused == ["task/kernel"]
    assert_same(tmp_path / "c", tmp_path / "a")


def test_heads_of_llama_are_told_by_its_configuration(tmp_path):
    model = model_of("llama")  # heads of four features
    weights = randomize(model)
    save_checkpoint(model, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="`head_dim` must be .*config.json"):
        convert_checkpoint(tmp_path / "a.safetensors", tmp_path / "b")
    assert not (tmp_path / "b.index").exists()
    config = {"num_attention_heads": 4, "hidden_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    convert_checkpoint(tmp_path / "a.safetensors", tmp_path / "b")
    again = model_of("llama")
    load_checkpoint(again, tmp_path / "b")
    for ours, theirs in zip(again.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="Received: head_dim=5"):
        convert_checkpoint(
            tmp_path / "a.safetensors", tmp_path / "c", head_dim=5
        )
    assert not (tmp_path / "c.index").exists()


def test_what_no_family_has_is_rejected(tmp_path):
    write_tf1(tmp_path / "a", {"x": lambda: np.ones(3)})
    with pytest.raises(ValueError, match="names of a family.*Received: .*'x'"):
        convert_checkpoint(tmp_path / "a", tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        convert_checkpoint(tmp_path / "nowhere", tmp_path / "b")


@pytest.mark.parametrize("block", [0, 1])
def test_a_tensor_that_one_block_lacks_is_named(block, tmp_path):
    save_checkpoint(model_of("bert"), tmp_path / "a")
    missing = f"bert/encoder/layer_{block}/output/dense/bias"
    arrays = arrays_of(tmp_path / "a")
    del arrays[missing]
    path = tf1(tmp_path / "b", arrays)
    message = f"Received: path={path} without {missing}"
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(path, tmp_path / "c")
    assert not (tmp_path / "c.index").exists()


def test_an_encoder_may_have_more_blocks_than_the_decoder(tmp_path):
    save_checkpoint(model_of("t5.1.1"), tmp_path / "a")
    arrays = arrays_of(tmp_path / "a")
    fewer = {n: a for n, a in arrays.items() if "decoder/block_001" not in n}
    assert len(fewer) < len(arrays)
    path = tf1(tmp_path / "b", fewer)
    number, unused = convert_checkpoint(path, tmp_path / "c", "t5.1.1")
    assert number == len(fewer) and unused == []


@pytest.mark.parametrize("shape", [(), (3,), (1, 3, 4)])
def test_a_tensor_that_is_no_kernel_is_named(shape, tmp_path):
    save_checkpoint(model_of("bert"), tmp_path / "a")
    name = "bert/encoder/layer_1/output/dense/kernel"
    arrays = {**arrays_of(tmp_path / "a"), name: np.ones(shape, "float32")}
    path = tf1(tmp_path / "b", arrays)
    shown = str(shape).replace("(", r"\(").replace(")", r"\)")
    message = f"`{name}` must have 2 axes.*Received: {shown} in path={path}"
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(path, tmp_path / "c")


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 0, "hidden_size": 16},
        {"num_attention_heads": 4, "hidden_size": 16, "head_dim": "4"},
        {"num_attention_heads": 4, "hidden_size": 16, "head_dim": -4},
        {"num_attention_heads": 4, "hidden_size": 2},
    ],
)
def test_a_configuration_that_tells_no_heads_is_rejected(config, tmp_path):
    arrays = {
        "model.layers.0.self_attn.q_proj.weight": np.ones((4, 4), "float32")
    }
    path = tmp_path / "a.safetensors"
    write_safetensors(
        path,
        {n: (a.shape, "float32", lambda a=a: a) for n, a in arrays.items()},
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="`head_dim` must be .*config.json"):
        convert_checkpoint(path, tmp_path / "b", "llama")


def test_a_failure_leaves_the_target(tmp_path):
    save_checkpoint(model_of("bert"), tmp_path / "a")
    target = tmp_path / "b.safetensors"
    target.write_bytes(b"old")
    data = tmp_path / "a.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read"):
        convert_checkpoint(tmp_path / "a", target)
    assert target.read_bytes() == b"old"


@pytest.mark.data
@pytest.mark.parametrize("ending", ["", ".safetensors"])
@pytest.mark.parametrize(
    "name", ["keras_bert_toy", "keras_gpt2_toy", "stories260K"]
)
def test_real_checkpoints(name, ending, tmp_path):
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt" / name
    target = tmp_path / f"a{ending}"
    number, unused = convert_checkpoint(folder, target)
    assert unused == [] and number == len(arrays_of(target))
