import os
import pathlib
import struct

import numpy as np
import pytest

from su_models.checkpoints.llama2c import (
    HEADER,
    Llama2cCheckpoint,
    is_llama2c,
)

# dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len
SIZES = 8, 12, 2, 4, 2, 10, 6


def arrays(tied=True):
    """The tensors by name, in the order in which llama2.c writes them."""
    dim, hidden, layers, heads, kv_heads, vocabulary, _ = SIZES
    kv = dim // heads * kv_heads
    shapes = {"tok_embeddings.weight": (vocabulary, dim)}
    for name, shape in {
        "attention_norm": (dim,),
        "attention.wq": (dim, dim),
        "attention.wk": (kv, dim),
        "attention.wv": (kv, dim),
        "attention.wo": (dim, dim),
        "ffn_norm": (dim,),
        "feed_forward.w1": (hidden, dim),
        "feed_forward.w2": (dim, hidden),
        "feed_forward.w3": (hidden, dim),
    }.items():
        for i in range(layers):
            shapes[f"layers.{i}.{name}.weight"] = shape
    shapes["norm.weight"] = (dim,)
    shapes["freqs"] = (6, dim // heads)
    if not tied:
        shapes["output.weight"] = (vocabulary, dim)
    random = np.random.default_rng(0)
    return {n: random.normal(size=s).astype("<f4") for n, s in shapes.items()}


def write(path, tied=True, sizes=SIZES):
    sizes = list(sizes)
    sizes[5] *= 1 if tied else -1
    content = [a.tobytes() for a in arrays(tied).values()]
    path.write_bytes(struct.pack("<7i", *sizes) + b"".join(content))
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_tensors_are_read_by_name(tmp_path, tied):
    expected = arrays(tied)
    del expected["freqs"]
    path = write(tmp_path / "a.bin", tied)
    with Llama2cCheckpoint(path) as checkpoint:
        assert {*checkpoint} == {*expected}
        for name, array in expected.items():
            assert checkpoint.shape(name) == array.shape
            assert checkpoint.dtype(name) == "float32"
            np.testing.assert_array_equal(checkpoint[name], array)
        assert checkpoint.sizes["vocab_size"] == 10
        assert checkpoint.sizes["n_kv_heads"] == 2
    assert is_llama2c(path.read_bytes()[:64], path.stat().st_size)


@pytest.mark.parametrize("change", [-1, -4, 4])
def test_another_length_is_refused(tmp_path, change):
    path = write(tmp_path / "a.bin")
    content = path.read_bytes() + bytes(8)
    path.write_bytes(content[: len(content) - 8 + change])
    with pytest.raises(ValueError, match="as long as its header .*path="):
        Llama2cCheckpoint(path)
    assert not is_llama2c(content[:64], path.stat().st_size)


@pytest.mark.parametrize(
    ("place", "value"), [(0, 0), (0, -8), (2, 2**30), (3, 3), (4, 3), (6, 0)]
)
def test_impossible_sizes_are_refused(tmp_path, place, value):
    sizes = list(SIZES)
    sizes[place] = value
    path = write(tmp_path / "a.bin", sizes=sizes)
    with pytest.raises(ValueError, match="must begin with seven sizes"):
        Llama2cCheckpoint(path)
    assert not is_llama2c(path.read_bytes()[:64], path.stat().st_size)


@pytest.mark.parametrize("length", [0, 10, HEADER.size - 1])
def test_a_short_file_is_refused(tmp_path, length):
    path = tmp_path / "a.bin"
    path.write_bytes(write(path).read_bytes()[:length])
    with pytest.raises(ValueError, match="must begin with seven sizes"):
        Llama2cCheckpoint(path)


def test_later_versions_of_the_format_are_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(struct.pack("<Ii", 0x616B3432, 1) + bytes(300))
    assert is_llama2c(path.read_bytes()[:64], 308)
    with pytest.raises(ValueError, match="Only the first version .*path="):
        Llama2cCheckpoint(path)


@pytest.mark.data
def test_a_real_checkpoint_is_read():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    path = folder / "stories260K" / "stories260K.bin"
    with Llama2cCheckpoint(path) as checkpoint:
        assert [*checkpoint.sizes.values()] == [64, 172, 5, 8, 4, 512, 512]
        assert checkpoint.shape("layers.4.attention.wk.weight") == (32, 64)
        parameters = sum(array.size for array in checkpoint.values())
        assert 259_000 < parameters < 261_000
        scale = checkpoint["norm.weight"]
        assert 0.1 < scale.min() and scale.max() < 100
