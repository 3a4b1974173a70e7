"""What counts as a number among the arguments of a class."""

import numpy as np
import pytest

from su_models.ops.is_real import is_real


@pytest.mark.parametrize("x", [0, -3, 0.5, np.float32(2), np.int64(7)])
def test_numbers_are_real(x):
    assert is_real(x)


@pytest.mark.parametrize(
    "x", [True, "1", None, [1.0], 1j, float("nan"), float("inf"), -np.inf]
)
def test_everything_else_is_not(x):
    assert not is_real(x)
