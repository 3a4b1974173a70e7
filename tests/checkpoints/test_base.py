import io

import numpy as np
import pytest

from su_models.checkpoints.base import Checkpoint, read_exactly


class Dictionary(Checkpoint):
    """Tensors of a dict, which counts how often it is read."""

    def __init__(self, arrays, told=None):
        described = {k: (a.shape, a.dtype.name) for k, a in arrays.items()}
        super().__init__("here", {**described, **(told or {})})
        self.arrays, self.reads, self.open = arrays, 0, True

    def close(self):
        self.open = False

    def _read(self, name):
        self.reads += 1
        return self.arrays[name]


ARRAYS = {"a": np.ones((2, 3), "float32"), "b": np.zeros((), "int64")}


def test_a_tensor_is_read_when_it_is_asked_for():
    checkpoint = Dictionary(ARRAYS)
    assert list(checkpoint) == ["a", "b"] and len(checkpoint) == 2
    assert "a" in checkpoint and "c" not in checkpoint
    assert (checkpoint.shape("a"), checkpoint.dtype("b")) == ((2, 3), "int64")
    assert checkpoint.reads == 0
    np.testing.assert_array_equal(checkpoint["a"], ARRAYS["a"])
    assert {k: v.shape for k, v in checkpoint.items()} == {"a": (2, 3), "b": ()}
    assert checkpoint.reads == 3
    with pytest.raises(KeyError):
        checkpoint["c"]


def test_it_closes_itself():
    with Dictionary(ARRAYS) as checkpoint:
        assert checkpoint.open
    assert not checkpoint.open


@pytest.mark.parametrize("told", [((3, 2), "float32"), ((2, 3), "float64")])
def test_a_tensor_must_be_as_the_file_says(told):
    with pytest.raises(ValueError, match="`a` is not .*Received: .*path=here"):
        Dictionary(ARRAYS, {"a": told})["a"]


@pytest.mark.parametrize("error", [OSError("full"), ValueError("short")])
def test_a_tensor_that_cannot_be_read_is_named(error):
    class Broken(Dictionary):
        def _read(self, name):
            raise error

    with pytest.raises(ValueError, match=f"`a` cannot be read: {error}"):
        Broken(ARRAYS)["a"]


def test_bytes_are_read_from_where_they_begin():
    content = b"xxx" + np.arange(6, dtype="<f4").tobytes()
    file = io.BytesIO(content)
    array = read_exactly(file, 3, (2, 3), "<f4")
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_exactly(file, 7, (), "<f4") == 1
    with pytest.raises(ValueError, match="ends before"):
        read_exactly(file, 7, (2, 3), "<f4")
