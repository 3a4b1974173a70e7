"""Article: https://kexue.fm/archives/6620"""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special

from su_models.losses import SmoothAccuracy
from tests.contract import integers, normal, to_numpy

Y, X = integers(4, 2, 5), 2 * normal(2, 5, 4)


def test_matches_eq_13():
    p = special.softmax(X, axis=-1)
    right = [
        p[b, n, Y[b, n]] for b in range(2) for n in range(5)
    ]  # ⟨1_y, p⟩, one by one
    expected = 1 - np.mean(right)
    np.testing.assert_allclose(to_numpy(SmoothAccuracy()(Y, X)), expected, 1e-5)
    given = SmoothAccuracy(from_logits=False)(Y[..., None], p)
    np.testing.assert_allclose(to_numpy(given), expected, 1e-5)


def test_is_the_error_rate_where_the_network_is_sure():
    wrong = 1 - np.mean(X.argmax(axis=-1) == Y)
    assert 0 < wrong < 1
    np.testing.assert_allclose(
        to_numpy(SmoothAccuracy()(Y, 1e4 * X)), wrong, rtol=1e-6
    )


def test_a_keras_mask_leaves_positions_out():
    ids = np.array([[3, 4, 0, 0, 0], [1, 2, 3, 0, 0]])
    inputs = keras.Input((5,), dtype="int32")
    embed = keras.layers.Embedding(5, 4, mask_zero=True)
    net = keras.Model(inputs, embed(inputs))
    each = to_numpy(SmoothAccuracy(reduction=None)(Y, ops.copy(net(ids))))
    masked = to_numpy(SmoothAccuracy()(Y, net(ids)))
    np.testing.assert_allclose(masked, each[ids > 0].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "x"), [((2, 5, 4), (2, 5, 4)), ((3,), (2, 4)), ((2,), (2, 5, 4))]
)
def test_shapes_must_fit(y, x):
    with pytest.raises(ValueError, match=r"Received: y_true=.*, y_pred="):
        SmoothAccuracy()(np.zeros(y), np.zeros(x))
