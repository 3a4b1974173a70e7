"""Article: https://kexue.fm/archives/7124"""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import LayerNormalization
from tests.contract import normal, to_numpy
from tests.marks import needs_float64, only_tensorflow


def randomize(layer):
    """Gives the weights numbers that are neither 0 nor 1."""
    for i, w in enumerate(layer.weights):
        w.assign(np.random.default_rng(i).normal(size=w.shape))


def normalize(x, gamma, beta, zero_mean, unit_variance, epsilon):
    """The article's formula, one loop a vector and one a number."""
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape[:-1]):
        v = x[place].astype("float64")
        if zero_mean:
            v = v - sum(v) / len(v)
        if unit_variance:
            v = v / np.sqrt(sum(a * a for a in v) / len(v) + epsilon)
        y[place] = v * gamma[place] + beta[place]
    return y


@pytest.mark.parametrize(
    ("zero_mean", "unit_variance", "scale", "offset"),
    list(itertools.product([True, False], repeat=4)),
)
def test_matches_the_formula(zero_mean, unit_variance, scale, offset):
    x = 3 * normal(2, 5, 6) + 1
    layer = LayerNormalization(
        zero_mean, unit_variance, scale, offset, epsilon=0.01
    )
    layer.build(x.shape)
    randomize(layer)
    names = [w.name for w in layer.weights]
    assert names == ["beta"] * offset + ["gamma"] * scale
    gamma = to_numpy(layer.gamma) if scale else np.ones(6)
    beta = to_numpy(layer.beta) if offset else np.zeros(6)
    gamma, beta = (np.broadcast_to(w, x.shape) for w in (gamma, beta))
    expected = normalize(x, gamma, beta, zero_mean, unit_variance, 0.01)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize("shape", [(2, 4), (2, 1, 4), (2, 5, 4)])
def test_a_condition_moves_scale_and_offset(hidden, shape):
    x, c = normal(2, 5, 6), normal(*shape)
    layer = LayerNormalization(
        epsilon=0.01,
        conditional=True,
        hidden_units=hidden,
        hidden_activation="tanh",
    )
    layer.build(x.shape, c.shape)
    randomize(layer)
    weights = [to_numpy(w) for w in layer.weights]
    beta, gamma, *first, to_beta, to_gamma = weights
    h = np.tanh(c @ first[0]) if hidden else c
    h = np.broadcast_to(h if h.ndim == 3 else h[:, None], (2, 5, h.shape[-1]))
    expected = normalize(
        x, gamma + h @ to_gamma, beta + h @ to_beta, True, True, 0.01
    )
    np.testing.assert_allclose(to_numpy(layer(x, c)), expected, atol=1e-5)


def test_a_pretrained_model_is_still_itself_when_fine_tuning_begins():
    x, c = normal(2, 5, 6), normal(2, 4)
    plain = LayerNormalization()
    plain.build(x.shape)
    randomize(plain)
    conditional = LayerNormalization(conditional=True, hidden_units=3)
    conditional(x, c)
    for w, pretrained in zip(conditional.weights, plain.weights):  # noqa: B905
        w.assign(pretrained)
    np.testing.assert_allclose(
        to_numpy(conditional(x, c)), to_numpy(plain(x)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        ({}, keras.layers.LayerNormalization),
        (
            {"zero_mean": False, "offset": False},
            keras.layers.RMSNormalization,
        ),
    ],
)
@pytest.mark.parametrize("epsilon", [1e-12, 1e-6, 0.1])
def test_equals_the_layers_of_keras_with_gradients(ours, peer, epsilon):
    x, weights = 3 * normal(2, 5, 6) + 1, normal(2, 5, 6)[::-1].copy()
    ours, peer = (
        LayerNormalization(**ours, epsilon=epsilon),
        peer(epsilon=epsilon),
    )
    for layer in (ours, peer):
        layer.build(x.shape)
        for w in layer.weights:
            seed = {"beta": 1}.get(w.name, 0)
            w.assign(np.random.default_rng(seed).normal(size=w.shape))

    def slope(layer):
        return to_numpy(
            gradient(lambda x: ops.sum(ops.multiply(layer(x), weights)), x)
        )

    for a, b in (
        (to_numpy(ours(x)), to_numpy(peer(x))),
        (slope(ours), slope(peer)),
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_squares_that_low_precision_does_not_hold(policy):
    x = 500 * normal(2, 5, 6)
    low = to_numpy(LayerNormalization(dtype=policy)(x))
    np.testing.assert_allclose(
        low, to_numpy(LayerNormalization()(x)), atol=0.03
    )


def test_constant_inputs_are_finite_and_so_are_their_gradients():
    layer, x = LayerNormalization(epsilon=1e-12), np.ones((2, 3, 4), "float32")
    assert (to_numpy(layer(x)) == 0).all()
    slope = gradient(lambda x: ops.sum(ops.square(layer(x))), x)
    assert np.isfinite(to_numpy(slope)).all()


def test_mask_reaches_the_next_layer():
    ids = keras.Input((None,), dtype="int32")
    c = keras.Input((3,))
    x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    x = LayerNormalization(conditional=True)(x, c)
    net = keras.Model([ids, c], keras.layers.GlobalAveragePooling1D()(x))
    padded, bare = (
        to_numpy(net([np.array([i]), normal(1, 3)]))
        for i in ([3, 4, 0], [3, 4])
    )
    np.testing.assert_allclose(padded, bare, atol=1e-6)


def test_bad_arguments_are_refused():
    for name in ("zero_mean", "unit_variance", "scale", "offset"):
        with pytest.raises(ValueError, match=f"Received: {name}=1"):
            LayerNormalization(**{name: 1})
    for epsilon in (0, -1e-6, "1e-6", None, float("nan")):
        with pytest.raises(ValueError, match="Received: epsilon="):
            LayerNormalization(epsilon=epsilon)
    with pytest.raises(ValueError, match="acts on scale or offset. Received"):
        LayerNormalization(scale=False, offset=False, conditional=True)
    for more in ({}, {"conditional": True}):
        with pytest.raises(ValueError, match="Received: hidden_units=0"):
            LayerNormalization(hidden_units=0, **more)
    with pytest.raises(ValueError, match="Received: hidden_units=3"):
        LayerNormalization(hidden_units=3)


def test_a_condition_is_given_where_it_is_expected_and_only_there():
    with pytest.raises(ValueError, match="needs a `condition`. Received: "):
        LayerNormalization(conditional=True)(normal(2, 5, 6))
    with pytest.raises(ValueError, match="takes no `condition`. Received: "):
        LayerNormalization()(normal(2, 5, 6), normal(2, 3))
    for shape in ((4,), (2, 4, 3), (2, 1, 1, 3)):
        with pytest.raises(ValueError, match="Received: condition of shape"):
            LayerNormalization(conditional=True)(
                normal(2, 5, 6), normal(*shape)
            )


@pytest.mark.parametrize("shape", [(), (6,)])
def test_inputs_without_a_batch_are_refused(shape):
    with pytest.raises(ValueError, match="Received: inputs_shape="):
        LayerNormalization()(normal(*shape))
    with pytest.raises(ValueError, match="Received: inputs_shape="):
        LayerNormalization()(keras.Input((3, None)))


@pytest.mark.parametrize(
    ("x", "c"),
    [
        ((1, 7, 6), (2, 5)),
        ((2, 7, 6), (1, 5)),
        ((2, 7, 6), (1, 7, 5)),
        ((2, 1, 6), (2, 7, 5)),
    ],
)
def test_conditions_that_would_enlarge_the_inputs_are_refused(x, c):
    layer = LayerNormalization(conditional=True)
    with pytest.raises(ValueError, match="Received: condition of shape"):
        layer(normal(*x), normal(*c))
    layer(normal(2, 7, 6), normal(2, 5))
    with pytest.raises(ValueError, match="Received: condition of shape"):
        layer(normal(*x), normal(*c))  # once it is built, too


def test_one_condition_serves_all_places_of_a_sequence():
    layer, c = LayerNormalization(conditional=True), normal(2, 1, 5)
    x = normal(2, 7, 6)
    layer.build(x.shape, c.shape)
    for w in layer.trainable_weights:
        w.assign(normal(*w.shape))
    np.testing.assert_allclose(
        to_numpy(layer(x, c)), to_numpy(layer(x, c[:, 0])), rtol=1e-6
    )


@only_tensorflow
def test_a_condition_of_an_unknown_batch_is_not_broadcast():
    import tensorflow as tf

    layer = LayerNormalization(conditional=True)
    shapes = [tf.TensorSpec((None, 7, 6)), tf.TensorSpec((None, 5))]
    call = tf.function(lambda x, c: layer(x, c), input_signature=shapes)
    assert call(normal(2, 7, 6), normal(2, 5)).shape == (2, 7, 6)
    for n, m in ((2, 1), (1, 2)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            call(normal(n, 7, 6), normal(m, 5))


@pytest.mark.parametrize("flag", ["False", None, 0])
def test_what_is_no_flag_is_refused(flag):
    for name in ("zero_mean", "scale", "conditional"):
        with pytest.raises(ValueError, match=f"Received: {name}={flag!r}"):
            LayerNormalization(**{name: flag})


def test_numpy_numbers_are_numbers():
    layer = LayerNormalization(
        zero_mean=np.False_,
        epsilon=np.float32(0.5),
        conditional=np.True_,
        hidden_units=np.int64(3),
    )
    config = layer.get_config()
    assert type(config["zero_mean"]) is bool and config["epsilon"] == 0.5
    assert type(config["epsilon"]) is float
    assert type(config["hidden_units"]) is int


def test_integers_are_normalized_as_floats():
    x = np.arange(12).reshape(2, 6)
    y = LayerNormalization()(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    expected = to_numpy(LayerNormalization()(x.astype("float32")))
    np.testing.assert_array_equal(to_numpy(y), expected)


@needs_float64
def test_float64_is_kept():
    x = 1e6 + normal(2, 6).astype("float64")
    y = ops.convert_to_numpy(LayerNormalization(dtype="float64")(x))
    z = x - x.mean(axis=-1, keepdims=True)
    z = z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-7)
    np.testing.assert_allclose(y, z, rtol=1e-9)
