"""Paper: https://arxiv.org/abs/1910.10683"""

import keras
import numpy as np
import pytest

from su_models.layers import ZeroMasked
from tests.contract import normal, to_numpy


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5)])
def test_masked_steps_are_zero_and_the_others_as_they_were(shape):
    x = normal(*shape)
    mask = np.array([[True, False, True], [False, True, True]])
    y = to_numpy(ZeroMasked()(x, mask=keras.ops.convert_to_tensor(mask)))
    np.testing.assert_array_equal(y[mask], x[mask])
    assert not y[~mask].any()


def test_even_nan_is_zero():
    x = np.full((1, 1, 2), np.nan, "float32")
    mask = keras.ops.convert_to_tensor([[False]])
    assert not to_numpy(ZeroMasked()(x, mask=mask)).any()


def test_without_a_mask_nothing_changes():
    x = normal(2, 3, 4)
    np.testing.assert_array_equal(to_numpy(ZeroMasked()(x)), x)


def test_a_mask_of_another_shape_is_rejected():
    mask = keras.ops.ones((2, 4), "bool")
    with pytest.raises(ValueError, match="`mask`.*Received: mask of shape"):
        ZeroMasked()(normal(2, 3, 4), mask=mask)
