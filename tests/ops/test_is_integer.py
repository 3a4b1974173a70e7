"""Integers of Python and NumPy, and nothing that merely equals one."""

import numpy as np
import pytest

from su_models.ops.is_integer import is_integer


@pytest.mark.parametrize("n", [0, -3, 2**40, np.int32(7), np.uint8(7)])
def test_integers_of_python_and_numpy_are_integers(n):
    assert is_integer(n)


@pytest.mark.parametrize(
    "n", [True, np.True_, 2.0, np.float32(2), float("nan"), "2", None, [2]]
)
def test_nothing_else_is_an_integer(n):
    assert not is_integer(n)
