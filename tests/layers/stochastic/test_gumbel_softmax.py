"""Article: https://kexue.fm/archives/6705"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import GumbelSoftmax
from su_models.layers.stochastic import gumbel_softmax
from tests.contract import JIT, normal, to_numpy
from tests.marks import needs_float64

LOGITS = normal(2, 5, 4)


def uniform(*shape):
    return np.random.default_rng(1).uniform(size=shape).astype("float32")


@pytest.fixture
def known_noise(monkeypatch):
    """Puts numbers in the place of the generator's."""

    def random_uniform(shape, **_):
        return ops.convert_to_tensor(uniform(*shape))

    monkeypatch.setattr(keras.random, "uniform", random_uniform)


@pytest.mark.parametrize("temperature", [0.3, 1, 8.0])
@pytest.mark.parametrize("axis", [-1, 1])
def test_matches_eq_10(known_noise, temperature, axis):
    y = to_numpy(GumbelSoftmax(temperature, axis=axis)(LOGITS))
    o, u = (
        np.moveaxis(LOGITS, axis, -1),
        np.moveaxis(uniform(2, 5, 4), axis, -1),
    )
    y = np.moveaxis(y, axis, -1)
    for place in np.ndindex(o.shape[:-1]):
        e = [
            np.exp((a - np.log(-np.log(b))) / temperature)
            for a, b in zip(o[place], u[place], strict=True)
        ]
        np.testing.assert_allclose(y[place], np.array(e) / sum(e), rtol=2e-4)


def test_the_largest_is_a_sample_of_the_softmax():
    """Eq. (8): the article's proof, by chi-square."""
    logits = np.array([0.0, 1.0, -1.0, 2.0, -30.0], "float32")
    n = 100_000
    layer = GumbelSoftmax(hard=True, seed=2)
    counts = to_numpy(layer(np.tile(logits, (n, 1)))).sum(axis=0)
    p = np.exp(logits) / np.exp(logits).sum()
    chi_square = ((counts - n * p) ** 2 / (n * p))[:4].sum()
    assert chi_square < 21.1  # 3 degrees of freedom: once in 10 000
    assert counts[4] == 0


def test_the_largest_does_not_depend_on_temperature(known_noise):
    hard = to_numpy(GumbelSoftmax(0.1, hard=True)(LOGITS))
    for temperature in (1e-3, 0.5, 1.0, 50.0):
        soft = to_numpy(GumbelSoftmax(temperature)(LOGITS))
        np.testing.assert_array_equal(soft.argmax(-1), hard.argmax(-1))


def test_temperature_goes_from_one_hot_to_uniform(known_noise):
    cold = to_numpy(GumbelSoftmax(1e-4)(LOGITS))
    np.testing.assert_allclose(np.sort(cold, -1)[..., -1], 1, atol=1e-6)
    warm = to_numpy(GumbelSoftmax(1e6)(LOGITS))
    np.testing.assert_allclose(warm, 0.25, atol=1e-5)


def test_logits_need_not_be_normalized(known_noise):
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    ours, theirs = (to_numpy(GumbelSoftmax(0.7)(x)) for x in (LOGITS, log_p))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(ours.sum(-1), 1, atol=1e-6)


def test_hard_is_exactly_one_hot_with_the_gradient_of_soft(known_noise):
    weights = normal(2, 5, 4)[::-1].copy()

    def slope(hard):
        layer = GumbelSoftmax(0.7, hard=hard)
        return to_numpy(
            gradient(lambda x: ops.sum(ops.multiply(layer(x), weights)), LOGITS)
        )

    y = to_numpy(GumbelSoftmax(0.7, hard=True)(LOGITS))
    assert set(np.unique(y)) == {0.0, 1.0}
    assert (y.sum(-1) == 1).all()
    np.testing.assert_allclose(slope(True), slope(False), atol=1e-6)
    assert np.abs(slope(True)).max() > 0.01


def test_noise_is_finite_for_every_number_a_generator_returns():
    """Generators of float32 return multiples of 2⁻²⁴ or 2⁻²³ in [0, 1].

    The noise grows with the number, so it is finite for all if it is at
    both ends, in whatever steps: for 10⁸ numbers, and for any more.
    """
    ends = to_numpy(gumbel_softmax._gumbel(np.array([0.0, 1.0], "float32")))
    np.testing.assert_allclose(ends, [-2.8526, 16.6355], atol=1e-3)
    steps = np.arange(0, 2**24 + 1, 509, dtype="float32") * np.float32(2**-24)
    near = np.arange(2**12, dtype="float32") * np.float32(2**-24)
    numbers = np.concatenate([near, steps, 1 - near[::-1]])
    noise = to_numpy(gumbel_softmax._gumbel(np.sort(numbers)))
    assert np.isfinite(noise).all()
    assert (np.diff(noise) >= -1e-6).all()


@pytest.mark.slow
def test_noise_is_finite_for_1e8_uniforms():
    generator = keras.random.SeedGenerator(0)
    zeros = 0
    for _ in range(20):
        u = keras.random.uniform((5_000_000,), seed=generator)
        assert np.isfinite(to_numpy(gumbel_softmax._gumbel(u))).all()
        zeros += (ops.convert_to_numpy(u) == 0).sum()
    assert zeros, "no zero was met: a weaker test than it seems"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_cold_and_large_logits_are_finite_in_low_precision(policy):
    layer = GumbelSoftmax(1e-3, seed=0, dtype=policy)
    y = to_numpy(layer(np.array([[6e4, -6e4, 0.0], [0.0, 0.0, 1.0]], "f4")))
    np.testing.assert_allclose(y[0], [1, 0, 0])
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-2)


class Anneal(keras.callbacks.Callback):
    """Sets the temperature of the layer before each batch."""

    def __init__(self, values):
        super().__init__()
        self.values = iter(values)

    def on_train_batch_begin(self, batch, logs=None):
        self.model.get_layer("sample").temperature = next(self.values)


def sharpness(_, y):
    """Mean of Σ y²: 1 for one-hot vectors, 1/4 for uniform ones."""
    return ops.mean(ops.sum(ops.square(y), axis=-1))


def test_annealing_reaches_a_compiled_fit(tmp_path):
    inputs = keras.Input((4,))
    logits = keras.layers.Dense(4)(inputs)
    net = keras.Model(inputs, GumbelSoftmax(1.0, seed=0, name="sample")(logits))
    net.compile("sgd", "mse", metrics=[sharpness], jit_compile=JIT)
    x = normal(16, 4)
    values = [1e5, 1e5, 1.0, 1.0, 1e-5, 1e-5]
    history = net.fit(
        x, x, 8, epochs=3, verbose=0, callbacks=[Anneal(values)]
    ).history["sharpness"]
    assert history[0] == pytest.approx(0.25, abs=1e-3)
    assert 0.3 < history[1] < 0.9
    assert history[2] == pytest.approx(1.0, abs=1e-3)
    # what was annealed is saved; the config is that of the beginning
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", compile=False)
    layer = again.get_layer("sample")
    assert float(to_numpy(layer.temperature)) == pytest.approx(1e-5)
    assert layer.get_config()["temperature"] == 1.0


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), "1", None, True])
def test_temperature_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match="Received: temperature="):
        GumbelSoftmax(value)
    layer = GumbelSoftmax()
    with pytest.raises(ValueError, match="Received: temperature="):
        layer.temperature = value
    assert float(to_numpy(layer.temperature)) == 1.0


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Received: hard=1"):
        GumbelSoftmax(hard=1)
    with pytest.raises(ValueError, match="Received: axis=None"):
        GumbelSoftmax(axis=None)
    with pytest.raises(ValueError, match=r"Received: input_shape=\(3,\)"):
        GumbelSoftmax()(normal(3))
    for axis in (0, 2, -3):
        with pytest.raises(ValueError, match=f"axis={axis}"):
            GumbelSoftmax(axis=axis)(normal(2, 3))
    with pytest.raises(ValueError, match="classes must be known. Received"):
        GumbelSoftmax()(keras.Input((None,)))


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40, True, "x", 1.5])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        GumbelSoftmax(seed=seed)


def test_numpy_numbers_are_numbers():
    layer = GumbelSoftmax(
        np.float32(0.5), np.True_, axis=np.int64(-1), seed=np.int64(3)
    )
    config = layer.get_config()
    names = "temperature", "hard", "axis", "seed"
    assert [type(config[k]) for k in names] == [float, bool, int, int]
    layer.temperature = np.float32(0.25)
    assert to_numpy(layer.temperature) == 0.25


@pytest.mark.parametrize("hard", [False, True])
def test_nan_is_seen(hard):
    x = LOGITS.copy()
    x[0, 0, 0] = np.nan
    y = to_numpy(GumbelSoftmax(hard=hard, seed=0)(x))
    assert np.isnan(y[0, 0]).any() and np.isfinite(y[1]).all()


@needs_float64
@pytest.mark.parametrize("hard", [False, True])
def test_float64_is_kept(hard):
    x = LOGITS.astype("float64") + 1e-9
    y = GumbelSoftmax(hard=hard, seed=0, dtype="float64")(x)
    y = ops.convert_to_numpy(y)
    assert y.dtype == "float64"
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)
    same = to_numpy(GumbelSoftmax(hard=hard, seed=0)(LOGITS))
    np.testing.assert_allclose(y, same, rtol=1e-4, atol=1e-6)
