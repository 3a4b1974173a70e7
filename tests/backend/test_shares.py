"""What is no share is an error where it is known, and NaN elsewhere."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled
from su_models.backend.shares import check_shares

RIGHT = np.array([0.0, 0.3, 1.0, 1.0 + 1e-6], "float32")


def test_shares_are_returned():
    x = ops.convert_to_tensor(RIGHT)
    assert check_shares("x", x) is x


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.inf, -np.inf, np.nan])
def test_a_known_number_outside_is_an_error(wrong):
    x = ops.convert_to_tensor(np.array([0.5, wrong], "float32"))
    with pytest.raises(ValueError, match="`x` .* 0 to 1.*Received: x from"):
        check_shares("x", x)


def test_nan_may_stay():
    x = ops.convert_to_tensor(np.array([0.5, np.nan], "float32"))
    assert check_shares("x", x, nan=True) is x
    with pytest.raises(ValueError, match="Received: x from"):
        check_shares("x", x * 0 + 1.1, nan=False)


def test_the_slack_is_a_number():
    x = ops.convert_to_tensor(np.array([1.05], "float32"))
    assert check_shares("x", x, slack=0.1) is x
    with pytest.raises(ValueError, match="Received: x from"):
        check_shares("x", x, slack=0.01)


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="all values are known there"
)
@pytest.mark.parametrize("nan", [False, True])
def test_an_unknown_number_outside_becomes_nan(nan):
    x = np.array([-0.1, 0.0, 0.5, 1.0, 1.1, np.nan], "float32")
    y = compiled(lambda x: check_shares("x", x, nan=nan))(x)
    expected = [np.nan, 0.0, 0.5, 1.0, np.nan, np.nan]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(y), np.array(expected, "float32")
    )
