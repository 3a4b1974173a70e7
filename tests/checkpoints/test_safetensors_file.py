import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from su_models.checkpoints.safetensors_file import (
    DTYPES,
    SafetensorsCheckpoint,
    write_safetensors,
)

ARRAYS = {
    "bert.pooler.dense.weight": np.arange(6, dtype="float32").reshape(2, 3),
    "b": np.array([1, 2.5, -0.0], ml_dtypes.bfloat16),
    "half": np.array([[1], [np.nan]], "float16"),
    "scalar": np.array(7, "int64"),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 3), "float32"),
}


def write(path, arrays=ARRAYS, **options):
    tensors = {
        name: (a.shape, a.dtype.name, lambda a=a: a)
        for name, a in arrays.items()
    }
    write_safetensors(path, tensors, **options)
    return path


def assert_same(checkpoint, arrays=ARRAYS):
    assert list(checkpoint) == sorted(arrays)
    for name, array in arrays.items():
        assert checkpoint.shape(name) == array.shape
        assert checkpoint.dtype(name) == array.dtype.name
        read = checkpoint[name]
        assert (read.dtype, read.tobytes()) == (array.dtype, array.tobytes())


def test_what_is_written_is_read_to_the_bit(tmp_path):
    path = write(tmp_path / "a.safetensors")
    with SafetensorsCheckpoint(path) as checkpoint:
        assert_same(checkpoint)
        assert checkpoint.format == "safetensors"


def test_the_library_reads_what_is_written(tmp_path):
    arrays = load_file(write(tmp_path / "a"))
    assert {*arrays} == {*ARRAYS}
    for name, array in arrays.items():
        assert array.tobytes() == ARRAYS[name].tobytes()
        assert array.shape == ARRAYS[name].shape


def test_what_the_library_writes_is_read(tmp_path):
    save_file(ARRAYS, tmp_path / "a", metadata={"format": "np"})
    assert_same(SafetensorsCheckpoint(tmp_path / "a"))


def test_tensors_begin_at_multiples_of_8_bytes(tmp_path):
    for name in ("a", "ab", "abc", "abcd", "abcde"):
        path = write(tmp_path / "a", {name: np.ones(3, "float64")})
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        assert size % 8 == 0 and len(content) == 8 + size + 24
        header = json.loads(content[8 : 8 + size])
        assert header["__metadata__"] == {"format": "pt"}  # for transformers


def test_metadata(tmp_path):
    path = write(tmp_path / "a", metadata={"written": "here"})
    assert b'{"written":"here"}' in path.read_bytes()


def test_tensors_are_written_one_at_a_time(tmp_path):
    alive = []

    def read():
        alive.append("read")
        return np.ones(3, "float32")

    class Counting(dict):
        def items(self):
            for item in super().items():
                alive.append("next")
                yield item

    tensors = Counting({n: ((3,), "float32", read) for n in "ab"})
    write_safetensors(tmp_path / "a", tensors)
    assert alive == ["next", "next", "next", "read", "next", "read"]


@pytest.mark.parametrize(
    "array", [np.ones(2, "float32"), np.ones(3, "float64")]
)
def test_a_failed_write_leaves_the_file(tmp_path, array):
    path = write(tmp_path / "a")
    tensors = {"good": ((2,), "int8", lambda: np.ones(2, "int8"))}
    tensors["x"] = (3,), "float32", lambda: array
    with pytest.raises(ValueError, match="`x` must be of shape .*Received"):
        write_safetensors(path, tensors)
    assert_same(SafetensorsCheckpoint(path))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_dtype_that_the_format_lacks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: complex64 of x"):
        write(tmp_path / "a", {"x": np.ones(2, "complex64")})
    assert not list(tmp_path.iterdir())


def test_all_dtypes_are_those_of_numpy():
    assert all(np.dtype(name).name == name for name in DTYPES.values())


def sharded(folder, **changes):
    names = sorted(ARRAYS)
    parts = {"1.safetensors": names[:2], "2.safetensors": names[2:]}
    for file, part in parts.items():
        write(folder / file, {n: ARRAYS[n] for n in part})
    places = {n: file for file, part in parts.items() for n in part}
    index = folder / "model.safetensors.index.json"
    content = {"metadata": {}, "weight_map": {**places, **changes}}
    index.write_text(json.dumps(content))
    return index


def test_several_files_are_one_checkpoint(tmp_path):
    with SafetensorsCheckpoint(sharded(tmp_path)) as checkpoint:
        assert_same(checkpoint)


@pytest.mark.parametrize("start", [0, 7, 8, 9, 30, -1])
def test_a_truncated_file_is_refused(tmp_path, start):
    path = write(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:start])
    with pytest.raises(ValueError, match="Not a whole file .*path=.*a$"):
        SafetensorsCheckpoint(path)


def test_a_dtype_that_numpy_lacks_is_refused(tmp_path):
    header = b'{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    path = tmp_path / "a"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    with pytest.raises(ValueError, match="Received: x of F8_E4M3 in path="):
        SafetensorsCheckpoint(path)


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("{", "path="),
        ("{}", "path="),
        ('{"weight_map": []}', "path="),
        ('{"weight_map": {"a": 5}}', "path="),
        ('{"weight_map": {}}', "path="),
        ('{"weight_map": {"a": "../1.safetensors"}}', r"path=.*\['\.\./1"),
        ('{"weight_map": {"a": "/etc/passwd"}}', r"path=.*\['/etc"),
    ],
)
def test_a_bad_index_is_refused(tmp_path, content, received):
    index = tmp_path / "index.json"
    index.write_text(content)
    with pytest.raises(
        ValueError, match=f"The index of .*Received: {received}"
    ):
        SafetensorsCheckpoint(index)


def test_files_must_have_what_the_index_names(tmp_path):
    index = sharded(tmp_path, nothing="1.safetensors")
    with pytest.raises(ValueError, match=r"1.safetensors must .*\['nothing'\]"):
        SafetensorsCheckpoint(index)
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="2.safetensors"):
        SafetensorsCheckpoint(sharded_again(index))


def sharded_again(index):
    content = json.loads(index.read_text())
    del content["weight_map"]["nothing"]
    index.write_text(json.dumps(content))
    return index


def test_a_closed_file_is_not_read(tmp_path):
    checkpoint = SafetensorsCheckpoint(write(tmp_path / "a"))
    checkpoint.close()
    with pytest.raises(ValueError, match="`b` cannot be read: .*closed"):
        checkpoint["b"]
