"""Article: https://kexue.fm/archives/7867"""

import math

import keras
import numpy as np
import pytest

from su_models.layers import FeedForward
from tests.contract import normal, to_numpy

FUNCTIONS = {
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "linear": lambda x: x,
    "tanh": math.tanh,
}


def randomize(layer):
    for i, w in enumerate(layer.weights):
        w.assign(np.random.default_rng(i).normal(size=w.shape))


def reference(x, weights, activations, use_bias):
    """Eq. (1) and (2), one vector, one activation and one number at a time."""
    kernels = weights[::2] if use_bias else weights
    biases = weights[1::2] if use_bias else [0.0 * k[0] for k in weights]
    *hidden, output = zip(kernels, biases, strict=True)
    y = np.empty((*x.shape[:-1], output[0].shape[1]))
    for place in np.ndindex(x.shape[:-1]):
        h = np.ones(hidden[0][0].shape[1])
        for (kernel, bias), name in zip(hidden, activations, strict=True):
            z = x[place].astype("float64") @ kernel + bias
            for k in range(len(h)):
                h[k] *= FUNCTIONS[name](z[k])
        y[place] = h @ output[0] + output[1]
    return y


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "activation",
    ["relu", "gelu", ["gelu", "linear"], ("tanh", "gelu", "relu"), ["tanh"]],
)
def test_matches_eq_1_and_2(activation, use_bias):
    x, layer = normal(2, 5, 6), FeedForward(3, activation, use_bias)
    layer.build(x.shape)
    randomize(layer)
    names = [activation] if isinstance(activation, str) else activation
    assert len(layer.weights) == (len(names) + 1) * (1 + use_bias)
    weights = [to_numpy(w) for w in layer.weights]
    expected = reference(x, weights, names, use_bias)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6), (2, 5, 6), (2, 3, 5, 6)])
def test_output_dim_defaults_to_that_of_the_inputs(shape):
    x = normal(*shape)
    assert tuple(FeedForward(3)(x).shape) == shape
    y = FeedForward(3, output_dim=4)(x)
    assert tuple(y.shape) == (*shape[:-1], 4)


def test_the_kernels_of_the_branches_start_different():
    layer = FeedForward(6, ["gelu", "linear"], kernel_initializer="normal")
    layer.build((2, 6))
    first, second, output = (to_numpy(w) for w in layer.weights[::2])
    for a, b in ((first, second), (first, output), (second, output)):
        assert (a != b).all()


def test_config_gives_the_activation_back_as_it_was():
    for given in ("relu", ["gelu", "linear"], None):
        config = FeedForward(3, given).get_config()
        assert config["activation"] == (given or "linear")


def test_old_files_keep_the_activations(tmp_path):
    x = keras.Input((None, 6))
    net = keras.Model(x, FeedForward(3, ["gelu", "linear"])(x))
    net.save(tmp_path / "net.h5")
    again = keras.saving.load_model(tmp_path / "net.h5")
    np.testing.assert_allclose(
        to_numpy(net(normal(2, 5, 6))), to_numpy(again(normal(2, 5, 6)))
    )


def test_mask_reaches_the_next_layer():
    ids = keras.layers.Embedding(9, 4, mask_zero=True)
    mean = keras.layers.GlobalAveragePooling1D()
    net = keras.Sequential([ids, FeedForward(3), mean])
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([3, 4, 0], [3, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-6)


def test_bad_arguments_are_refused():
    for bad in (0, 2.5, "3", True, None):
        with pytest.raises(ValueError, match="Received: units="):
            FeedForward(bad)
    for bad in (0, 2.5, "3", True):
        with pytest.raises(ValueError, match="Received: output_dim="):
            FeedForward(3, output_dim=bad)
    for bad in ([], ()):
        with pytest.raises(ValueError, match="Received: activation="):
            FeedForward(3, bad)
    with pytest.raises(ValueError, match="Received: use_bias=1"):
        FeedForward(3, use_bias=1)
    for shape in ((None,), (2, None)):
        with pytest.raises(ValueError, match="Received: input_shape="):
            FeedForward(3)(keras.KerasTensor(shape))
