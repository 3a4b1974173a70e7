"""Paper: https://arxiv.org/abs/2104.09864"""

import keras
import numpy as np
import pytest

from su_models.layers import PositionIds
from tests.contract import normal, to_numpy


def test_tokens_are_numbered_from_0():
    numbers = to_numpy(PositionIds()(normal(2, 5, 3)))
    np.testing.assert_array_equal(numbers, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("given", [[3, 1, 4], [[3, 1, 4], [1, 5, 9]]])
def test_positions_that_are_given_pass_through(given):
    result = PositionIds()(normal(2, 3, 4), positions=np.array(given))
    np.testing.assert_array_equal(to_numpy(result), given)


def test_large_positions_are_not_rounded_in_low_precision():
    with_policy = PositionIds(dtype="mixed_float16")
    given = np.array([[4097, 65537, 2]])
    result = with_policy(normal(1, 3, 4), positions=given)
    assert keras.backend.standardize_dtype(result.dtype) == "int32"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(result), given)


@pytest.mark.parametrize("wrong", [np.zeros((2, 4), int), np.zeros((2, 3))])
def test_other_positions_are_rejected(wrong):
    with pytest.raises(ValueError, match="Received: positions"):
        PositionIds()(normal(2, 3, 4), positions=wrong)
