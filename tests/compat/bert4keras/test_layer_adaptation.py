"""Paper: https://arxiv.org/abs/1904.00962"""

import keras
import numpy as np
import pytest

from su_models.backend import has_xla
from su_models.compat.bert4keras.layer_adaptation import LayerAdaptation
from tests.contract import normal, to_numpy


def test_steps_of_a_loop():
    optimizer = LayerAdaptation(
        keras.optimizers.SGD(0.1, weight_decay=0.2), ["bias"]
    )
    w = keras.Variable(normal(3, 2), name="kernel")
    b = keras.Variable(normal(2), name="bias")
    zero = keras.Variable(np.zeros(2, "float32"), name="zero")
    expected, other, slopes = to_numpy(w), to_numpy(b), []
    for t in range(3):
        slopes = [normal(3, 2) * (t + 1), normal(2), normal(2)]
        optimizer.apply(
            [keras.ops.convert_to_tensor(s) for s in slopes], [w, b, zero]
        )
        # one step with decay, then its size
        u = (expected * (1 - 0.1 * 0.2) - 0.1 * slopes[0] - expected) / 0.1
        ratio = np.linalg.norm(expected) / np.linalg.norm(u)
        expected = expected + 0.1 * ratio * u
        other = other * (1 - 0.1 * 0.2) - 0.1 * slopes[1]
        if t == 0:  # of norm 0
            np.testing.assert_allclose(to_numpy(zero), -0.1 * slopes[2])
    np.testing.assert_allclose(to_numpy(w), expected, rtol=1e-4)
    np.testing.assert_allclose(to_numpy(b), other, rtol=1e-5)


def test_it_trains_in_fit():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = LayerAdaptation(keras.optimizers.Adam(0.01))
    model.compile(optimizer, "mse", jit_compile=has_xla())
    before = to_numpy(model.weights[0])
    model.fit(normal(8, 2), normal(8, 1), batch_size=8, verbose=0)
    after = to_numpy(model.weights[0])
    size = np.linalg.norm(after - before) / np.linalg.norm(before)
    np.testing.assert_allclose(size, 0.01, rtol=1e-3)


def test_config_and_patterns():
    optimizer = LayerAdaptation(keras.optimizers.SGD(0.1), ["bias"])
    config = optimizer.get_config()
    assert LayerAdaptation.from_config(config).exclude == ["bias"]
    with pytest.raises(ValueError, match="Received: exclude="):
        optimizer.apply([normal(2)], [keras.Variable(normal(2), name="w")])
