"""Article: https://kexue.fm/archives/9119, https://kexue.fm/archives/9164"""

import numpy as np
import pytest
from keras import ops

from su_models.sampling import DDPM, NoiseSchedule
from tests.sampling.oracle import GaussianDenoiser, normal, output_variance

SCHEDULE = NoiseSchedule.author(1000)


def test_steps_match_eq_17_one_by_one():
    sampler = DDPM(SCHEDULE)
    x, e = 0.7, -1.3
    for t, (a, b, c) in zip(sampler.times, sampler.table, strict=True):
        alpha = np.sqrt(1 - 0.02 * t / 1000)
        beta = np.sqrt(1 - alpha**2)
        bar = np.prod(np.sqrt(1 - 0.02 * np.arange(1, t + 1) / 1000))
        mean = (x - beta**2 / np.sqrt(1 - bar**2) * e) / alpha
        np.testing.assert_allclose(a * x - b * e, mean, rtol=1e-12)
        np.testing.assert_allclose(c, beta if t > 1 else 0.0, rtol=1e-12)


def test_posterior_deviation_matches_eq_13_of_article_9164():
    sampler = DDPM(SCHEDULE, sigma="posterior")
    s = SCHEDULE
    for t in (1000, 500, 2):
        c = sampler.table[1000 - t, 2]
        expected = s.bar_beta[t - 1] * s.beta[t] / s.bar_beta[t]
        np.testing.assert_allclose(c, expected, rtol=1e-12)
    assert sampler.table[-1, 2] == 0


def test_variance_of_standard_normal_data_is_kept():
    sampler = DDPM(SCHEDULE)
    np.testing.assert_allclose(output_variance(sampler), 0.99998, atol=1e-6)
    # with noise at the last step, as the author's code has it: exactly 1
    with_noise = output_variance(sampler) + SCHEDULE.beta[1] ** 2
    np.testing.assert_allclose(with_noise, 1.0, rtol=1e-12)


@pytest.mark.parametrize("sigma", ["beta", "posterior"])
@pytest.mark.parametrize("variance", [0.25, 1.0, 4.0])
def test_moments_of_gaussian_data(sigma, variance):
    schedule = NoiseSchedule.author(100)
    sampler = DDPM(schedule, sigma)
    denoiser = GaussianDenoiser(schedule, variance)
    x = ops.convert_to_numpy(sampler(denoiser, normal(32, 512), seed=3))
    expected = output_variance(sampler, variance)
    n = x.size
    assert abs(x.mean()) < 5 * np.sqrt(expected / n)
    assert abs(x.var() / expected - 1) < 5 * np.sqrt(2 / n)


def test_first_steps_noise_has_its_deviation_and_the_last_has_none():
    sampler, zero = DDPM(SCHEDULE), np.zeros((64, 512), "float32")
    one_step = DDPM(SCHEDULE)
    one_step.times, one_step.table = sampler.times[:1], sampler.table[:1]
    x = ops.convert_to_numpy(one_step(GaussianDenoiser(SCHEDULE), zero, seed=0))
    np.testing.assert_allclose(x.std(), SCHEDULE.beta[1000], rtol=0.02)
    last = DDPM(NoiseSchedule.author(1))
    y = ops.convert_to_numpy(last(GaussianDenoiser(SCHEDULE), zero, seed=0))
    np.testing.assert_array_equal(y, zero)


def test_unknown_sigma_is_refused():
    with pytest.raises(ValueError, match="Received: sigma='gamma'"):
        DDPM(SCHEDULE, sigma="gamma")
