"""A value can be looked at, or is being traced."""

import keras
import numpy as np
import pytest

from su_models.backend import compiled
from su_models.backend.tracing import is_known


@pytest.mark.parametrize("x", [3, np.ones(2), None])
def test_what_is_no_tensor_is_known(x):
    assert is_known(x)


def test_eager_tensors_and_variables_are_known():
    assert is_known(keras.ops.ones(2))
    assert is_known(keras.Variable([1.0]))


def test_symbolic_tensors_are_not_known():
    assert not is_known(keras.Input((3,)))


def test_traced_tensors_are_not_known():
    seen = []

    def fn(x):
        seen.append(is_known(x))
        return x + 1

    compiled(fn)(keras.ops.ones(2))
    traced = keras.backend.backend() != "torch"  # which is not compiled
    assert (False in seen) == traced


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="how PyTorch infers shapes"
)
def test_tensors_without_memory_are_not_known():
    with keras.device("meta"):
        assert not is_known(keras.ops.ones(2))
