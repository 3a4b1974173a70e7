"""Activations by the names of configurations."""

import keras
import numpy as np
import pytest

from su_models.models.transformer.activations import activation, gelu_tanh
from tests.contract import normal, to_numpy
from tests.models.transformer.reference import gelu


@pytest.mark.parametrize("name", ["gelu", "gelu_erf"])
def test_gelu_is_the_exact_one(name):
    x = normal(9)
    y = to_numpy(activation(name)(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(y, gelu(x), atol=1e-6)


@pytest.mark.parametrize("name", ["gelu_new", "gelu_tanh", gelu_tanh])
def test_the_approximation_by_tanh(name):
    x = normal(9).astype("float64")
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    expected = 0.5 * x * (1 + np.tanh(inner))
    y = activation(name)(keras.ops.convert_to_tensor(x, "float32"))
    np.testing.assert_allclose(to_numpy(y), expected, atol=1e-6)


def test_it_can_be_saved():
    config = keras.activations.serialize(activation("gelu_new"))
    assert keras.activations.deserialize(config) is gelu_tanh


def test_an_unknown_name_is_rejected():
    with pytest.raises(ValueError, match="mean 'silu'.*hidden_act='sillu'"):
        activation("sillu")
