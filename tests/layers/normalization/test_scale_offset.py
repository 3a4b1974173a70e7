"""Article: https://kexue.fm/archives/7124"""

import keras
import numpy as np
import pytest

from su_models.layers import LayerNormalization, ScaleOffset
from tests.contract import normal, to_numpy


def randomize(layer):
    """Gives the weights numbers that are neither 0 nor 1."""
    for i, w in enumerate(layer.weights):
        w.assign(np.random.default_rng(i).normal(size=w.shape))


@pytest.mark.parametrize("scale", [True, False, 0.3, 0])
@pytest.mark.parametrize("offset", [True, False, -0.7, np.float32(2)])
def test_matches_the_formula(scale, offset):
    x, layer = normal(2, 5, 6), ScaleOffset(scale, offset)
    layer.build(x.shape)
    randomize(layer)
    learned = ["beta"] * (offset is True) + ["gamma"] * (scale is True)
    assert [w.name for w in layer.weights] == learned
    expected = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        y, d = x[place], place[-1]
        if scale is not False:
            y = y * (to_numpy(layer.gamma)[d] if scale is True else scale)
        if offset is not False:
            y = y + (to_numpy(layer.beta)[d] if offset is True else offset)
        expected[place] = y
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize(("scale", "offset"), [(True, True), (0.3, 2.0)])
def test_a_condition_moves_scale_and_offset(hidden, scale, offset):
    x, c = normal(2, 5, 6), normal(2, 4)
    layer = ScaleOffset(
        scale, offset, True, hidden_units=hidden, hidden_activation="tanh"
    )
    layer.build(x.shape, c.shape)
    np.testing.assert_allclose(  # the kernels start at zero
        to_numpy(layer(x, c)),
        x if scale is True else 0.3 * x + 2,
        atol=1e-6,
    )
    randomize(layer)
    weights = [to_numpy(w) for w in layer.weights]
    beta, gamma = weights[:2] if scale is True else (2.0, 0.3)
    *first, to_beta, to_gamma = weights[2 if scale is True else 0 :]
    h = np.tanh(c @ first[0]) if hidden else c
    gamma, beta = gamma + h @ to_gamma, beta + h @ to_beta  # (b, d)
    expected = x * gamma[:, None] + beta[:, None]
    np.testing.assert_allclose(to_numpy(layer(x, c)), expected, atol=1e-5)


def test_it_is_the_last_two_steps_of_layer_normalization():
    x, c = normal(2, 5, 6), normal(2, 4)
    whole, last = (
        cls(conditional=True) for cls in (LayerNormalization, ScaleOffset)
    )
    normalized = LayerNormalization(scale=False, offset=False)(x)
    for layer in whole, last:
        layer.build(x.shape, c.shape)
        randomize(layer)
    assert [w.name for w in whole.weights] == [w.name for w in last.weights]
    np.testing.assert_allclose(
        to_numpy(whole(x, c)), to_numpy(last(normalized, c)), atol=1e-5
    )


def test_config_holds_its_own_arguments_alone():
    config = ScaleOffset(scale=np.float32(0.5), offset=False).get_config()
    assert config["scale"] == 0.5 and config["offset"] is False
    assert not {"zero_mean", "unit_variance", "epsilon"} & set(config)


def test_mask_reaches_the_next_layer():
    ids, c = keras.Input((None,), dtype="int32"), keras.Input((3,))
    x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    x = ScaleOffset(scale=2.0, offset=False)(x)
    x = ScaleOffset(conditional=True)(x, c)
    net = keras.Model([ids, c], keras.layers.GlobalAveragePooling1D()(x))
    padded, bare = (
        to_numpy(net([np.array([i]), normal(1, 3)]))
        for i in ([3, 4, 0], [3, 4])
    )
    np.testing.assert_allclose(padded, bare, atol=1e-6)


def test_bad_arguments_are_refused():
    for bad in ("1", None, float("nan"), float("inf"), [1.0]):
        with pytest.raises(ValueError, match="`scale` must .*Received: scale="):
            ScaleOffset(bad)
        with pytest.raises(ValueError, match="`offset` must .*Received: off"):
            ScaleOffset(offset=bad)
    with pytest.raises(ValueError, match="Received: "):
        ScaleOffset(False, False, conditional=True)
    with pytest.raises(ValueError, match="needs a `condition`. Received: "):
        ScaleOffset(conditional=True)(normal(2, 5, 6))
    with pytest.raises(ValueError, match="takes no `condition`. Received: "):
        ScaleOffset()(normal(2, 5, 6), normal(2, 3))
    with pytest.raises(ValueError, match="Received: "):
        ScaleOffset()(keras.Input((3, None)))
