"""Article: https://kexue.fm/archives/8404"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import VonMisesFisherSampling
from su_models.ops import von_mises_fisher_kl, von_mises_fisher_moments
from tests.contract import normal, to_numpy
from tests.marks import needs_float64


def directions(n, d):
    """`n` times the same direction, of length 1."""
    mu = np.random.default_rng(3).normal(size=d)
    return np.tile(mu / np.linalg.norm(mu), (n, 1)).astype("float32")


def draw(kappa, mu, seed=1, **more):
    layer = VonMisesFisherSampling(kappa, seed=seed, **more)
    return to_numpy(layer(mu)).astype("float64")


@pytest.mark.parametrize(
    ("d", "kappa"),
    [(2, 0), (2, 1.0), (2, 1e3), (3, 20), (16, 0), (16, 32.0), (129, 1e3)],
)
def test_samples_have_the_moments(d, kappa):
    n, mu = 20_000, directions(20_000, d)
    z = draw(kappa, mu)
    np.testing.assert_allclose((z**2).sum(-1), 1, atol=1e-5)
    w = (z * mu).sum(-1)
    mean, variance = von_mises_fisher_moments(d, kappa)
    assert abs(w.mean() - mean) < 5 * np.sqrt(variance / n) + 1e-7
    fourth = ((w - mean) ** 4).mean() / variance**2
    assert abs(w.var() / variance - 1) < 5 * np.sqrt(fourth / n)
    # what is across is uniform: mean 0, and equally wide to all sides
    across = z - w[:, None] * mu
    axis = mu[0] / np.linalg.norm(mu[0])
    plane = np.eye(d) - np.outer(axis, axis)
    width = (1 - w**2).mean() / (d - 1)
    assert np.abs(across.mean(0)).max() < 6 * np.sqrt(width / n)
    error = np.abs(across.T @ across / n - width * plane).max()
    assert error < 9 * width / np.sqrt(n)


@pytest.mark.parametrize(("d", "kl"), [(3, 2.688879454), (4, 3.258385442)])
def test_divergence_is_that_of_the_samples(d, kl):
    """Eq. (13), with C summed up here and E[w] of what was drawn."""
    kappa, n = 20.0, 50_000
    mu = directions(n, d)
    w = (draw(kappa, mu) * mu).sum(-1)
    x = (np.arange(1_000_000) + 0.5) / 500_000 - 1
    law = (1 - x**2) ** ((d - 3) / 2)
    log_c = -np.log((np.exp(kappa * x) * law).sum())
    drawn = kappa * w + log_c + np.log(law.sum())
    error = 5 * drawn.std() / np.sqrt(n)
    assert drawn.mean() == pytest.approx(kl, abs=error)
    assert von_mises_fisher_kl(d, kappa) == pytest.approx(kl, abs=1e-8)


def test_draws_are_new_and_do_not_repeat():
    """The author's table of a million draws has 1e5 twice among 5e5."""
    layer, mu = VonMisesFisherSampling(20.0, seed=0), directions(300_000, 3)
    first, second = to_numpy(layer(mu)), to_numpy(layer(mu))
    assert (first != second).any(-1).all()
    assert len(np.unique(first, axis=0)) > 299_000


def test_gradient_is_that_of_eq_10():
    """By differences, with the noise held still; along μ there is none."""
    mu, weights = 3 * normal(2, 3), normal(2, 3)[::-1].copy()

    def loss(x):
        z = VonMisesFisherSampling(2.0, seed=5)(x)
        return ops.sum(ops.multiply(z, weights))

    g = to_numpy(gradient(loss, mu))
    for i in np.ndindex(mu.shape):
        step = np.zeros_like(mu)
        step[i] = 1e-2
        up, down = (float(to_numpy(loss(mu + s))) for s in (step, -step))
        assert g[i] == pytest.approx((up - down) / 2e-2, abs=2e-3)
    np.testing.assert_allclose((g * mu).sum(-1), 0, atol=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e-3, 7.0, 1e30])
def test_length_of_the_direction_does_not_matter(size):
    mu = directions(6, 3)
    scaled = mu * np.float32(size)
    np.testing.assert_allclose(draw(5.0, scaled), draw(5.0, mu), atol=1e-5)


def test_a_direction_of_zeros_counts_as_the_first_axis():
    zeros = np.zeros((4000, 3), "float32")
    z = draw(1e3, zeros)
    np.testing.assert_allclose((z**2).sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(z.mean(0), [0.999, 0, 0], atol=3e-3)
    layer = VonMisesFisherSampling(3.0, seed=0)
    slope = to_numpy(gradient(lambda x: ops.sum(layer(x)), zeros))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("shape", [(1, 2), (2, 1, 3), (2, 3, 4, 5)])
def test_any_leading_axes_are_taken(shape):
    z = draw(4.0, normal(*shape))
    assert z.shape == shape
    np.testing.assert_allclose((z**2).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kappa", [0, 1e3])
def test_low_precision_stays_on_the_sphere(policy, kappa):
    z = draw(kappa, normal(50, 3) * 100, dtype=policy)
    np.testing.assert_allclose((z**2).sum(-1), 1, atol=2e-2)


@pytest.mark.parametrize("kappa", [-1, -1e-9, float("nan"), "1", None, [1.0]])
def test_negative_concentration_is_refused(kappa):
    with pytest.raises(ValueError, match="Received: kappa="):
        VonMisesFisherSampling(kappa)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3, 1)])
def test_a_sphere_of_no_dimension_is_refused(shape):
    with pytest.raises(ValueError, match="Received: input_shape="):
        VonMisesFisherSampling(1.0)(normal(*shape))


def test_an_unknown_dimension_is_refused():
    with pytest.raises(ValueError, match="Received: input_shape="):
        VonMisesFisherSampling(1.0)(keras.Input((None,)))


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40, True, "x", 1.5])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        VonMisesFisherSampling(1.0, seed=seed)


def test_numpy_numbers_are_numbers():
    config = VonMisesFisherSampling(np.float32(2), np.int64(3)).get_config()
    assert [type(config[k]) for k in ("kappa", "seed")] == [float, int]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_direction_that_is_none_gives_nan(value):
    mu = normal(3, 4)
    mu[1, 2] = value
    z = to_numpy(VonMisesFisherSampling(3.0, seed=1)(mu))
    assert np.isnan(z[1]).all() and np.isfinite(z[[0, 2]]).all()


@needs_float64
def test_float64_is_kept():
    mu = normal(5, 4).astype("float64")
    z = VonMisesFisherSampling(3.0, seed=1, dtype="float64")(mu)
    z = ops.convert_to_numpy(z)
    assert z.dtype == "float64"
    np.testing.assert_allclose((z**2).sum(axis=-1), 1, rtol=1e-14)
    same = to_numpy(VonMisesFisherSampling(3.0, seed=1)(normal(5, 4)))
    np.testing.assert_allclose(z, same, atol=1e-5)
