"""Article: https://kexue.fm/archives/6760"""

import json

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, value_and_variable_gradient
from su_models.backend import gradient as input_gradient
from su_models.layers import VectorQuantizer
from su_models.ops import codebook_perplexity
from tests.contract import JIT, normal, to_numpy
from tests.marks import needs_float64


def quantizer(codes, **more):
    """A built layer with the given codebook."""
    codes = np.asarray(codes, "float32")
    layer = VectorQuantizer(len(codes), **more)
    layer.build((None, codes.shape[1]))
    layer.trainable_weights[0].assign(codes)
    return layer


def codes(k=5, d=3):
    return np.random.default_rng(7).normal(size=(k, d)).astype("float32")


def nearest(z, codes):
    """Eq. (4): one loop a vector, one a code."""
    k = np.empty(z.shape[:-1], int)
    for place in np.ndindex(k.shape):
        distances = [np.linalg.norm(z[place] - e) for e in codes]
        k[place] = int(np.argmin(distances))
    return k


@pytest.mark.parametrize("shape", [(7, 3), (2, 7, 3), (2, 4, 5, 3)])
def test_matches_eq_4_to_the_last_bit(shape):
    z, e = normal(*shape), codes()
    quantized, indices = quantizer(e)(z)
    expected = nearest(z, e)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), expected)
    np.testing.assert_array_equal(to_numpy(quantized), e[expected])


def test_losses_are_the_terms_of_eq_13():
    z, e = normal(2, 7, 3), codes()
    layer = quantizer(e, codebook_weight=2.0, commitment_weight=0.5)
    layer(z)
    square = ((z - e[nearest(z, e)]) ** 2).mean()
    losses = [float(to_numpy(loss)) for loss in layer.losses]
    np.testing.assert_allclose(losses, [2 * square, 0.5 * square], rtol=1e-5)


def test_gradients_go_where_eq_13_sends_them():
    """To z: what follows and γ. To the codebook: β alone."""
    z, e, weights = normal(2, 7, 3), codes(), normal(2, 7, 3)[::-1].copy()
    layer = quantizer(e, codebook_weight=2.0, commitment_weight=0.5)
    e_k = e[nearest(z, e)]

    def loss(z):
        follows = ops.sum(ops.multiply(layer(z)[0], weights))
        return follows + sum(layer.losses)

    by_z = to_numpy(input_gradient(loss, z))
    expected = weights + 0.5 * 2 * (z - e_k) / z.size
    np.testing.assert_allclose(by_z, expected, atol=1e-6)

    _, (by_e,) = value_and_variable_gradient(
        lambda: loss(z), layer.trainable_variables
    )
    expected = np.zeros_like(e)
    for place in np.ndindex(z.shape[:-1]):
        k = nearest(z, e)[place]
        expected[k] -= 2.0 * 2 * (z - e_k)[place] / z.size
    np.testing.assert_allclose(to_numpy(by_e), expected, atol=1e-6)


def test_straight_through_is_exact():
    """Without the codebook's terms the gradient of z is that of e_k."""
    z, weights = normal(2, 7, 3), normal(2, 7, 3)[::-1].copy()
    layer = quantizer(codes())

    def slope(x, f):
        return to_numpy(
            input_gradient(
                lambda x: ops.sum(ops.multiply(ops.sin(f(x)), weights)), x
            )
        )

    through = slope(z, lambda x: layer(x)[0])
    at_code = slope(to_numpy(layer(z)[0]), lambda x: x)
    np.testing.assert_array_equal(through, at_code)


def test_nearest_far_from_the_origin():
    """|z|² - 2ze + |e|² alone is no better than a guess here."""
    z, e = normal(200, 3) + 1000, codes(17) + 1000
    _, indices = quantizer(e)(z)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), nearest(z, e))


def test_the_first_of_equally_near_codes_is_taken():
    e = np.array([[1, 1], [-1, 1], [1, 1], [1, -1]], "float32")
    z = np.array([[0, 1], [0, 0], [5, 5], [3, 0]], "float32")
    _, indices = quantizer(e)(z)
    assert ops.convert_to_numpy(indices).tolist() == [0, 0, 0, 0]


def test_lookup_returns_the_codes():
    z, layer = normal(2, 7, 3), quantizer(codes())
    quantized, indices = layer(z)
    np.testing.assert_array_equal(
        to_numpy(layer.lookup(indices)), to_numpy(quantized)
    )


def test_use_is_a_moving_average_and_perplexity_is_of_it():
    e, decay = codes(4, 2), 0.8
    layer = quantizer(e, usage_decay=decay)
    assert float(to_numpy(layer.perplexity())) == pytest.approx(4)
    usage, seen = np.full(4, 0.25), np.zeros(4)
    for i in range(30):
        z = np.random.default_rng(i).normal(size=(9, 2)).astype("float32")
        z[:, 1] = np.abs(z[:, 1]) + 1  # half a plane
        layer(z, training=True)
        layer(z[:2], training=False)  # counts for nothing
        share = np.bincount(nearest(z, e), minlength=4) / 9
        usage = decay * usage + (1 - decay) * share
        seen = decay * seen + (1 - decay) * share
    np.testing.assert_allclose(to_numpy(layer.usage), usage, atol=1e-5)
    p = seen[seen > 0] / seen.sum()
    expected = np.exp(-(p * np.log(p)).sum())
    perplexity = float(to_numpy(layer.perplexity()))
    assert perplexity == pytest.approx(expected, rel=1e-3)
    assert 1 <= perplexity < 4


def test_dead_codes_move_to_vectors_of_the_batch():
    """All but code 0 are too far away ever to be the nearest."""
    e = np.full((6, 2), 100.0, "float32")
    e[0] = 0
    layer = quantizer(e, restart_threshold=0.5, usage_decay=0.5, seed=0)
    z = normal(20, 2)
    layer(z, training=True)  # 1/2 of the share of the beginning is left
    np.testing.assert_array_equal(to_numpy(layer.codebook), e)
    layer(z, training=True)
    moved = to_numpy(layer.codebook)
    np.testing.assert_array_equal(moved[0], e[0])
    rows = {tuple(row) for row in z}
    found = {tuple(np.float32(row)) for row in moved[1:]}
    assert len(found) == 5, "different vectors for different codes"
    near = [min(np.abs(np.array(r) - f).max() for r in rows) for f in found]
    assert max(near) < 1e-4
    usage = to_numpy(layer.usage)
    np.testing.assert_allclose(usage[1:], 1 / 6)
    assert len(set(ops.convert_to_numpy(layer(z)[1]))) == 6


class LogPerplexity(keras.callbacks.Callback):
    """Puts the perplexity of the last layer into the history."""

    def on_epoch_end(self, epoch, logs=None):
        logs["perplexity"] = float(to_numpy(self.model.layers[-1].perplexity()))


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_restarts_revive_a_codebook_in_a_compiled_fit(threshold):
    """The plain layer keeps the few codes that it began with."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,))
    layer = VectorQuantizer(
        32, restart_threshold=threshold, usage_decay=0.8, seed=0
    )
    net = keras.Model(inputs, layer(inputs))
    net.compile(keras.optimizers.Adam(1e-2), jit_compile=JIT)
    x = normal(256, 2) + 10
    history = net.fit(
        x, batch_size=64, epochs=15, verbose=0, callbacks=[LogPerplexity()]
    ).history["perplexity"]
    codes_of, indices = net.predict(x, verbose=0)
    used = codebook_perplexity(indices, 32)
    distortion = np.square(codes_of - x).mean()
    if threshold:
        assert used > 16 and distortion < 0.2
        assert history[-1] > 16 and history[-1] > history[0]
    else:
        assert used < 4 and distortion > 0.2


def test_training_resumes_where_it_was_saved(tmp_path):
    def new():
        keras.utils.set_random_seed(2)
        inputs = keras.Input((2,))
        layer = VectorQuantizer(
            7, restart_threshold=0.6, usage_decay=0.5, seed=0
        )
        dense = keras.layers.Dense(2)
        net = keras.Model(inputs, layer(dense(inputs)))
        net.compile(keras.optimizers.Adam(1e-2))
        return net

    def fit(net, epochs):
        net.fit(
            normal(24, 2), batch_size=8, epochs=epochs, shuffle=False, verbose=0
        )
        return net

    whole, half = fit(new(), 4), fit(new(), 2)
    half.save(tmp_path / "net.keras")
    resumed = fit(keras.saving.load_model(tmp_path / "net.keras"), 2)
    assert to_numpy(whole.layers[-1]._moved).any(), "nothing was restarted"
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


def test_masked_vectors_do_not_count():
    z, e = normal(2, 7, 3), codes()
    mask = np.arange(7) < np.array([[3], [7]])
    layers = [
        quantizer(e, restart_threshold=0.9, usage_decay=0.1, seed=4)
        for _ in range(2)
    ]
    masked, bare = layers
    masked(z, mask=ops.convert_to_tensor(mask), training=True)
    bare(z[mask], training=True)
    for a, b in zip(masked.losses, bare.losses, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5)
    np.testing.assert_allclose(to_numpy(masked.usage), to_numpy(bare.usage))
    real = z[mask]
    for row in to_numpy(masked.codebook):
        is_code = np.abs(e - row).max(-1).min() < 1e-5
        assert is_code or np.abs(real - row).max(-1).min() < 1e-5


def test_codes_restart_at_real_vectors_only():
    z, e = normal(2, 7, 3), codes()
    mask = np.zeros((2, 7), bool)
    mask[1, 6] = True
    layer = quantizer(e, restart_threshold=0.9, usage_decay=0.1, seed=4)
    layer(z, mask=ops.convert_to_tensor(mask), training=True)
    expected = np.tile(z[1, 6], (5, 1))
    used = nearest(z, e)[1, 6]
    expected[used] = e[used]
    np.testing.assert_allclose(to_numpy(layer.codebook), expected, atol=1e-5)


def test_a_batch_of_padding_changes_nothing():
    layer = quantizer(codes(), restart_threshold=1.0, usage_decay=0.0, seed=4)
    before = [to_numpy(w) for w in layer.weights]
    mask = ops.zeros((2, 7), "bool")
    layer(normal(2, 7, 3), mask=mask, training=True)
    layer(np.zeros((0, 7, 3), "float32"), training=True)
    for a, w in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(a, to_numpy(w))
    assert [float(to_numpy(loss)) for loss in layer.losses] == [0.0, 0.0]


def test_frozen_layer_stays_as_it_is():
    layer = quantizer(codes(), restart_threshold=1.0, usage_decay=0.0, seed=4)
    layer.trainable = False
    before = [to_numpy(w) for w in layer.weights]
    layer(normal(20, 3), training=True)
    for a, w in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(a, to_numpy(w))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_nearest_is_found_in_float32(policy):
    """Codes that low precision cannot tell apart."""
    e = np.array([[1.0], [1.0001], [1.0002]], "float32")
    layer = quantizer(e, dtype=policy)
    quantized, indices = layer(np.ones((1, 1), "float32"))
    assert ops.convert_to_numpy(indices).tolist() == [0]
    assert keras.backend.standardize_dtype(quantized.dtype) in policy
    np.testing.assert_array_equal(to_numpy(layer.codebook), e)


def test_config_is_json():
    layer = VectorQuantizer(4, codebook_initializer="lecun_normal", seed=1)
    config = json.loads(json.dumps(layer.get_config()))
    assert VectorQuantizer.from_config(config).get_config() == config


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", None, True])
def test_a_codebook_without_codes_is_refused(size):
    with pytest.raises(ValueError, match="Received: codebook_size="):
        VectorQuantizer(size)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codebook_weight", -0.1),
        ("commitment_weight", "1"),
        ("commitment_weight", float("inf")),
        ("restart_threshold", 1.1),
        ("restart_threshold", -1),
        ("usage_decay", 1.0),
        ("usage_decay", float("nan")),
    ],
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}="):
        VectorQuantizer(4, **{name: value})


def test_inputs_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(3,\)"):
        VectorQuantizer(4)(normal(3))
    with pytest.raises(ValueError, match="Received: input_shape="):
        VectorQuantizer(4)(keras.Input((None,)))
    layer = VectorQuantizer(4)
    layer(normal(2, 3))
    with pytest.raises(ValueError, match="incompatible"):
        layer(normal(2, 5))
    for mask in (np.ones((2, 5)), np.ones((2, 7, 3)), np.ones((3,))):
        with pytest.raises(ValueError, match="Received: mask of shape"):
            VectorQuantizer(4)(normal(2, 7, 3), mask=mask > 0)


DTYPES = ["float16", "bfloat16", "mixed_float16", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    if dtype == "float64" and keras.config.backend() == "jax":
        pytest.skip("JAX has float64 where it is switched on alone")
    z = normal(2, 7, 3)
    layer = VectorQuantizer(4, restart_threshold=0.5, seed=1, dtype=dtype)
    for _ in range(3):
        quantized, indices = layer(z, training=True)
    assert (
        keras.backend.standardize_dtype(quantized.dtype) == layer.compute_dtype
    )
    codes = to_numpy(layer.codebook)
    expected = to_numpy(ops.cast(codes, layer.compute_dtype))
    k = ops.convert_to_numpy(indices)
    np.testing.assert_array_equal(to_numpy(quantized), expected[k])
    # averages with a decay near 1 are kept at least in float32
    wide = "float64" if dtype == "float64" else "float32"
    assert keras.backend.standardize_dtype(layer.usage.dtype) == wide
    assert np.isfinite(to_numpy(layer.perplexity()))


@needs_float64
def test_floatx_float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        layer = VectorQuantizer(4, restart_threshold=0.5)
        quantized, _ = layer(np.ones((2, 3)), training=True)
    finally:
        keras.config.set_floatx(before)
    assert (
        keras.backend.standardize_dtype(quantized.dtype) == layer.compute_dtype
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_has_no_code(value):
    z, layer = normal(6, 3), quantizer(codes(), restart_threshold=0.5, seed=0)
    z[2, 1] = value
    before = to_numpy(layer.codebook)
    quantized, indices = map(to_numpy, layer(z, training=True))
    assert np.isnan(quantized[2, 1]) and indices[2] == -1
    rest = np.arange(6) != 2
    expected = nearest(z[rest], before)
    np.testing.assert_array_equal(indices[rest], expected)
    assert not np.isfinite([to_numpy(loss) for loss in layer.losses]).any()
    assert np.isfinite(to_numpy(layer.codebook)).all()
    share = np.bincount(expected, minlength=5) / 5
    np.testing.assert_allclose(
        to_numpy(layer.usage), 0.99 * 0.2 + 0.01 * share, rtol=1e-5
    )


@pytest.mark.parametrize("index", [-1, 5, 2**32, 1.5])
def test_codes_that_do_not_exist_are_an_error(index):
    words = "`indices` must be integers from 0 to 4. Received: indices with"
    with pytest.raises(ValueError, match=words):
        quantizer(codes()).lookup(np.array([0, index]))


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
def test_codes_that_do_not_exist_are_nan_when_compiled():
    lookup = compiled(quantizer(codes()).lookup)
    got = to_numpy(lookup(np.array([0, -1, 4, 5], "int32")))
    np.testing.assert_array_equal(got[[0, 2]], codes()[[0, 4]])
    assert np.isnan(got[[1, 3]]).all()


def test_masks_of_floats_are_refused():
    mask = np.array([[1.0] * 7, [np.nan] * 7], "float32")
    with pytest.raises(ValueError, match="Received: mask of float32"):
        VectorQuantizer(4)(normal(2, 7, 3), mask=mask)


@pytest.mark.parametrize("seed", [-1, 2**40, True, "x"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        VectorQuantizer(4, seed=seed)


def test_numpy_numbers_are_numbers():
    layer = VectorQuantizer(
        np.int64(4),
        np.float32(1),
        np.int32(1),
        np.float16(0.5),
        np.float64(0.5),
        seed=np.uint8(3),
    )
    config = json.loads(json.dumps(layer.get_config()))
    assert VectorQuantizer.from_config(config).get_config() == config


def test_shapes_of_both_outputs_are_told():
    shapes = VectorQuantizer(4).compute_output_shape((None, 7, 2))
    assert shapes == ((None, 7, 2), (None, 7))
