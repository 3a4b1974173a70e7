"""Article: https://kexue.fm/archives/8404"""

import numpy as np
import pytest
from scipy import special

from su_models.ops import von_mises_fisher_kl, von_mises_fisher_moments
from su_models.ops.von_mises_fisher import (
    INTERVALS,
    REACH,
    _Angle,
    von_mises_fisher_angles,
)

# of closed forms with Bessel functions, to all digits shown
ANCHORS = [
    (3, 20.0, 0.95, 0.0025, 2.688879454),
    (4, 20.0, 0.925987749, 0.003648527, 3.258385442),
    (2, 1.0, 0.446389966, 0.354346032, 0.210475607),
]


def grid(dim, kappa, n=400_000):
    """Eq. (8) summed on a fine grid of angles: φ and its probabilities."""
    phi = (np.arange(n) + 0.5) * np.pi / n
    log = kappa * np.cos(phi) + (dim - 2) * np.log(np.sin(phi))
    p = np.exp(log - log.max())
    return phi, p / p.sum(), log.max() + np.log(p.sum() * np.pi / n)


@pytest.mark.parametrize(("dim", "kappa", "mean", "variance", "kl"), ANCHORS)
def test_moments_and_divergence_have_their_closed_forms(
    dim, kappa, mean, variance, kl
):
    assert von_mises_fisher_moments(dim, kappa) == pytest.approx(
        (mean, variance), abs=1e-9
    )
    assert von_mises_fisher_kl(dim, kappa) == pytest.approx(kl, abs=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 5, 16, 500])
@pytest.mark.parametrize("kappa", [0, 0.01, 3.0, 1000])
def test_matches_sums_on_a_grid(dim, kappa):
    phi, p, log_z = grid(dim, kappa)
    w = np.cos(phi)
    mean = (p * w).sum()
    variance = (p * (w - mean) ** 2).sum()
    kl = kappa * mean - log_z + grid(dim, 0)[2]
    assert von_mises_fisher_moments(dim, kappa) == pytest.approx(
        (mean, variance), abs=1e-8
    )
    assert von_mises_fisher_kl(dim, kappa) == pytest.approx(kl, abs=1e-7)


def test_divergence_is_zero_at_0_and_grows_with_concentration():
    for dim in (2, 3, 64, 10**6):
        kl = [von_mises_fisher_kl(dim, k) for k in (0, 0.1, 1, 30, 1e3, 1e8)]
        assert abs(kl[0]) < 1e-12
        assert (np.diff(kl) > 0).all() and np.isfinite(kl).all()


def angles(dim, kappa, g):
    place = (g + REACH) * INTERVALS / (2 * REACH)
    i = np.minimum(place.astype(int), INTERVALS - 1)
    c, t = von_mises_fisher_angles(dim, kappa)[i], place - i
    return c[:, 0] + t * (c[:, 1] + t * (c[:, 2] + t * c[:, 3]))


@pytest.mark.parametrize("dim", [2, 3, 5, 16, 500])
@pytest.mark.parametrize("kappa", [0, 0.01, 3.0, 1000])
def test_angles_have_the_cumulative_distribution_of_eq_8(dim, kappa):
    """F(φ(g)) = Φ(g), both summed up here."""
    g = np.linspace(-5, 5, 2001)
    x = np.linspace(-8, 8, 200_001)
    normal = np.exp(-(x**2) / 2)
    expected = np.interp(g, x, normal.cumsum() / normal.sum())
    phi, p, _ = grid(dim, kappa)
    edges = np.concatenate([[0], phi + phi[0]])
    cumulative = np.concatenate([[0], p.cumsum()])
    drawn = np.interp(angles(dim, kappa, g), edges, cumulative)
    np.testing.assert_allclose(drawn, expected, atol=1e-4)


@pytest.mark.parametrize("kappa", [0, 1, 6, 10, 13, 30, 1000])
@pytest.mark.parametrize(("dim", "bound"), [(2, 5e-8), (3, 5e-9), (9, 5e-9)])
def test_angles_are_as_exact_as_the_docstring_says(dim, kappa, bound):
    g = np.linspace(-REACH, REACH, 9 * INTERVALS + 1)[::4]
    exact = _Angle(dim, kappa).quantile(g)
    assert np.abs(angles(dim, kappa, g) - exact).max() < bound


def test_quantiles_have_their_closed_forms():
    g = np.linspace(-5, 5, 501)
    u = special.ndtr(g)
    exact = _Angle(2, 0).quantile(g)  # uniform on the circle
    np.testing.assert_allclose(exact, np.pi * u, rtol=1e-12)
    for kappa in (0.5, 3.0, 20.0):  # exp(κw) has a cumulative in closed form
        distance = -np.log1p(u * np.expm1(-2 * kappa)) / kappa  # 1 - w
        closed = 2 * np.arcsin(np.sqrt(np.minimum(distance / 2, 1)))
        exact = _Angle(3, kappa).quantile(g)
        np.testing.assert_allclose(exact[g < 3], closed[g < 3], rtol=1e-9)


@pytest.mark.parametrize(
    ("dim", "kappa"), [(2, 0), (2, 5), (3, 1e8), (16, 32), (10**6, 10)]
)
def test_angles_grow_and_stay_between_0_and_pi(dim, kappa):
    phi = angles(dim, kappa, np.linspace(-REACH, REACH, 50_001))
    assert (np.diff(phi) >= 0).all()
    assert 0 <= phi[0] and phi[-1] <= np.pi


@pytest.mark.parametrize(
    "function",
    [von_mises_fisher_moments, von_mises_fisher_kl, von_mises_fisher_angles],
)
def test_bad_arguments_are_refused(function):
    for dim in (1, 0, 2.0, "3", None, True):
        with pytest.raises(ValueError, match="Received: dim="):
            function(dim, 1.0)
    for kappa in (-1e-9, float("nan"), float("inf"), "1", None, [1]):
        with pytest.raises(ValueError, match="Received: kappa="):
            function(3, kappa)
