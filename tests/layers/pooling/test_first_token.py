"""Paper: https://arxiv.org/abs/1810.04805"""

import keras
import numpy as np
import pytest

from su_models.layers import Embedding, FirstToken
from tests.contract import normal, to_numpy


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 4), (2, 7, 3, 4)])
def test_the_first_token_is_taken(shape):
    x = normal(*shape)
    y = to_numpy(FirstToken()(x))
    assert y.shape == (shape[0], *shape[2:])
    for b in range(2):
        np.testing.assert_array_equal(y[b], x[b, 0])


def test_the_mask_of_the_sequence_is_dropped():
    ids = keras.Input((None,), dtype="int32")
    y = FirstToken()(Embedding(9, 4, mask_zero=True)(ids))
    # a mask `(batch, length)` would be multiplied with losses `(batch,)`
    net = keras.Model(ids, keras.layers.Dense(1)(y))
    net.compile("sgd", "mse")
    x = np.array([[3, 0, 0, 0], [4, 5, 6, 0]])
    loss = net.evaluate(x, np.zeros((2, 1)), verbose=0)
    expected = np.mean(to_numpy(net(x)) ** 2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2,), (2, 0, 4)])
def test_inputs_without_a_token_are_refused(shape):
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        FirstToken()(normal(*shape))
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        FirstToken()(keras.Input(shape[1:]))
