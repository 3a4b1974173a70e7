"""Article: https://kexue.fm/archives/8404

Peer: `scipy.stats.vonmises_fisher`, and Bessel functions of SciPy.
"""

import numpy as np
import pytest

from su_models.layers import VonMisesFisherSampling
from su_models.ops import von_mises_fisher_kl, von_mises_fisher_moments
from tests.contract import to_numpy

pytestmark = pytest.mark.parity
LAWS = [(2, 0.5), (3, 20.0), (4, 20.0), (5, 1.0), (16, 32.0), (40, 1000.0)]


@pytest.fixture(scope="module")
def scipy():
    stats = pytest.importorskip("scipy.stats", reason="peer: SciPy")
    return stats, pytest.importorskip("scipy.special", reason="peer: SciPy")


def direction(d):
    mu = np.random.default_rng(d).normal(size=d)
    return mu / np.linalg.norm(mu)


@pytest.mark.parametrize(("d", "kappa"), LAWS)
def test_mean_and_divergence(scipy, d, kappa):
    stats, special = scipy
    mean, _ = von_mises_fisher_moments(d, kappa)
    bessel = special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)
    assert mean == pytest.approx(bessel, rel=1e-10)
    area = np.log(2) + d / 2 * np.log(np.pi) - special.gammaln(d / 2)
    entropy = stats.vonmises_fisher(direction(d), kappa).entropy()
    kl = von_mises_fisher_kl(d, kappa)
    assert kl == pytest.approx(area - entropy, rel=1e-7)


@pytest.mark.parametrize(("d", "kappa"), LAWS)
def test_samples_are_of_one_distribution(scipy, d, kappa):
    """Kolmogorov-Smirnov along μ and along two directions across."""
    stats, _ = scipy
    n, mu = 20_000, direction(d)
    batch = np.tile(mu, (n, 1)).astype("float32")
    ours = to_numpy(VonMisesFisherSampling(kappa, seed=0)(batch))
    theirs = stats.vonmises_fisher(mu, kappa).rvs(n, random_state=1)
    other = np.random.default_rng(0).normal(size=(d, 2))
    for axis in (mu, *other.T):
        test = stats.ks_2samp(ours @ axis, theirs @ axis)
        assert test.pvalue > 1e-4
    ours_log, theirs_log = (
        stats.vonmises_fisher(mu, kappa).logpdf(
            x / np.linalg.norm(x, axis=-1, keepdims=True)
        )
        for x in (ours.astype("float64"), theirs)
    )
    error = 5 * np.hypot(ours_log.std(), theirs_log.std()) / np.sqrt(n)
    assert abs(ours_log.mean() - theirs_log.mean()) < error
