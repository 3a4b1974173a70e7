"""Article: https://kexue.fm/archives/6705"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import NormalSampling
from tests.contract import normal, to_numpy
from tests.marks import needs_float64


def draw(mean, log_variance, seed=3, **more):
    layer = NormalSampling(seed=seed, **more)
    return to_numpy(layer(mean, log_variance))


def test_matches_eq_5():
    mean, log = normal(2, 7, 3), normal(2, 7, 3)[::-1].copy()
    noise = draw(np.zeros_like(mean), np.zeros_like(log))
    z = draw(mean, log)
    for i in np.ndindex(z.shape):
        sigma = np.sqrt(np.exp(log[i]))
        assert z[i] == pytest.approx(noise[i] * sigma + mean[i], abs=1e-5)


def test_samples_have_the_mean_and_the_variance():
    mean = np.full((20_000, 3), [-2.0, 0.0, 5.0], "float32")
    log = np.full((20_000, 3), np.log([0.25, 1.0, 9.0]), "float32")
    z = draw(mean, log)
    sigma = np.array([0.5, 1.0, 3.0])
    error = np.abs(z.mean(axis=0) - mean[0]) / sigma
    assert (error < 5 / np.sqrt(20_000)).all()
    ratio = z.var(axis=0) / sigma**2
    assert (np.abs(ratio - 1) < 5 * np.sqrt(2 / 20_000)).all()
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 0.04


def test_mean_and_variance_receive_the_gradients_of_the_expectation():
    """E[z²] = μ² + σ²: slopes 2μ and, by log σ², σ²."""
    mean = np.full((50_000,), 0.7, "float32")[:, None]
    log = np.full((50_000,), -0.4, "float32")[:, None]

    def loss(m, v):
        return ops.sum(ops.square(NormalSampling(seed=1)(m, v)))

    by_mean, by_log = map(to_numpy, gradient(loss, mean, log))
    assert by_mean.mean() == pytest.approx(1.4, abs=0.04)
    assert by_log.mean() == pytest.approx(np.exp(-0.4), abs=0.04)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_smallest_variances_are_no_noise_in_low_precision(policy):
    mean = np.full((2, 5), 0.5, "float32")
    np.testing.assert_array_equal(
        draw(mean, np.full((2, 5), -300.0, "float32"), dtype=policy), mean
    )


def test_mask_reaches_the_next_layer():
    ids = keras.Input((None,), dtype="int32")
    mean = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    z = NormalSampling()(mean, ops.zeros_like(mean) - 300)
    net = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(z))
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([3, 4, 0], [3, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-6)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"Received: .* \(2, 4\)"):
        NormalSampling()(normal(2, 3), normal(2, 4))


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40, True, "x", 1.5])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        NormalSampling(seed=seed)


def test_numpy_seed_is_a_seed():
    layer = NormalSampling(seed=np.int64(3))
    assert type(layer.get_config()["seed"]) is int


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 1)])
def test_other_batches_are_refused_also_once_it_is_built(n, m):
    layer = NormalSampling()
    layer(normal(2, 6), normal(2, 6))
    with pytest.raises(ValueError, match="Received: log_variance of shape"):
        layer(normal(n, 6), normal(m, 6))


@needs_float64
def test_float64_is_kept():
    mean = np.full((2, 3), 1 + 1e-12)
    y = NormalSampling(seed=0, dtype="float64")(mean, np.full((2, 3), -200.0))
    np.testing.assert_allclose(ops.convert_to_numpy(y), mean, rtol=1e-15)
