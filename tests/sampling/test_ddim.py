"""Article: https://kexue.fm/archives/9181"""

import numpy as np
import pytest
from keras import ops

from su_models.sampling import DDIM, DDPM, NoiseSchedule
from tests.sampling.oracle import GaussianDenoiser, normal, output_variance

SCHEDULE = NoiseSchedule.author(1000)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("stride, eta", [(1, 1.0), (20, 0.0), (333, 0.5)])
def test_steps_match_eq_13(stride, eta, spacing):
    sampler = DDIM(SCHEDULE, stride, eta, spacing)
    x, e = 0.7, -1.3
    earlier = [*sampler.times[1:], 0]
    for t, u, (a, b, c) in zip(
        sampler.times, earlier, sampler.table, strict=True
    ):
        bar_a, bar_u = SCHEDULE.bar_alpha[t], SCHEDULE.bar_alpha[u]
        bar_b, bar_v = np.sqrt(1 - bar_a**2), np.sqrt(1 - bar_u**2)
        sigma = eta * bar_v / bar_b * np.sqrt(1 - (bar_a / bar_u) ** 2)
        clean = (x - bar_b * e) / bar_a  # Eq. (9)
        # Eq. (7): the mean is κ x_t + λ x_0
        kappa = np.sqrt(bar_v**2 - sigma**2) / bar_b
        mean = kappa * x + (bar_u - bar_a * kappa) * clean
        np.testing.assert_allclose(a * x - b * e, mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(c, sigma, rtol=1e-12)


@pytest.mark.parametrize(
    "stride, spacing, times",
    [
        (1, "leading", list(range(1000, 0, -1))),
        (250, "leading", [751, 501, 251, 1]),
        (250, "trailing", [1000, 750, 500, 250]),
        (300, "leading", [901, 601, 301, 1]),
        (300, "trailing", [1000, 700, 400, 100]),
        (1000, "trailing", [1000]),
    ],
)
def test_visited_steps(stride, spacing, times):
    assert DDIM(SCHEDULE, stride, spacing=spacing).times.tolist() == times


@pytest.mark.parametrize(
    "stride, variance", [(1, 0.996334), (10, 0.964111), (100, 0.691650)]
)
def test_variance_shrinks_with_the_stride(stride, variance):
    got = output_variance(DDIM(SCHEDULE, stride))
    np.testing.assert_allclose(got, variance, atol=5e-7)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("stride", [1, 10, 100])
def test_gaussian_data_is_scaled_by_the_exact_factor(stride, spacing):
    sampler, x = DDIM(SCHEDULE, stride, spacing=spacing), normal(64, 64)
    y = ops.convert_to_numpy(sampler(GaussianDenoiser(SCHEDULE), x))
    factor = np.median(y.astype("float64") / x)
    expected = np.sqrt(output_variance(sampler))
    np.testing.assert_allclose(factor, expected, atol=5e-6)


def test_eta_1_is_ddpm_with_the_posterior_deviation():
    ddim, ddpm = DDIM(SCHEDULE, eta=1.0), DDPM(SCHEDULE, sigma="posterior")
    np.testing.assert_allclose(ddim.table, ddpm.table, atol=5e-13)


def test_exact_noise_gives_the_image_back_in_any_number_of_steps():
    clean, noise = 0.3 * normal(2, 8), normal(2, 8)[::-1]
    for stride, spacing in (7, "trailing"), (1000, "trailing"):
        sampler = DDIM(SCHEDULE, stride, spacing=spacing)
        x = SCHEDULE.bar_alpha[1000] * clean + SCHEDULE.bar_beta[1000] * noise
        y = sampler(lambda x, t: ops.convert_to_tensor(noise.copy()), x)
        np.testing.assert_allclose(ops.convert_to_numpy(y), clean, atol=2e-3)


@pytest.mark.parametrize(
    "stride", [0, -1, 1001, 2.5, True, float("nan"), float("inf"), "a", None]
)
def test_bad_strides_are_refused(stride):
    with pytest.raises(ValueError, match=f"Received: stride={stride!r}"):
        DDIM(SCHEDULE, stride)


@pytest.mark.parametrize(
    "eta", [-0.1, float("nan"), float("inf"), 400.0, "0.5", None]
)
def test_bad_etas_are_refused(eta):
    with pytest.raises(ValueError, match=f"Received: eta={eta!r}"):
        DDIM(SCHEDULE, eta=eta)


def test_unknown_spacing_is_refused():
    with pytest.raises(ValueError, match="Received: spacing='linear'"):
        DDIM(SCHEDULE, spacing="linear")
