"""Article: https://kexue.fm/archives/5253"""

import numpy as np
import pytest
from keras import ops

from su_models.ops import normal_kl
from tests.contract import normal, to_numpy
from tests.marks import needs_float64


def test_matches_eq_5_and_the_integral():
    mean, log = normal(2, 3), normal(2, 3)[::-1].copy()
    x = np.linspace(-30, 30, 200_001)
    expected = np.zeros(2)
    for i in range(2):
        for m, v in zip(mean[i], np.exp(log[i]), strict=True):
            log_p = -((x - m) ** 2) / (2 * v) - np.log(2 * np.pi * v) / 2
            log_q = -(x**2) / 2 - np.log(2 * np.pi) / 2
            p = np.exp(log_p)
            expected[i] += (p * (log_p - log_q)).sum() * (x[1] - x[0])
    kl = to_numpy(normal_kl(mean, log))
    np.testing.assert_allclose(kl, expected, rtol=1e-5)


def test_is_zero_only_for_the_standard_normal():
    zeros = np.zeros((1, 4), "float32")
    assert to_numpy(normal_kl(zeros, zeros)) == 0
    assert to_numpy(normal_kl(zeros + 0.1, zeros)) > 0
    # ½ · 4 · x²/2, which 1 + x - eˣ in float32 would lose
    small = to_numpy(normal_kl(zeros, zeros + 1e-3))
    np.testing.assert_allclose(small, 1e-6, rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 1), (1, 3), (3,), (2, 3, 1), ()])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="Received: log_variance of shape"):
        normal_kl(normal(2, 3), normal(*shape))


def test_a_number_without_an_axis_is_refused():
    with pytest.raises(ValueError, match=r"Received: mean of shape \(\)"):
        normal_kl(1.0, 1.0)


@needs_float64
def test_float64_is_kept():
    kl = normal_kl(np.full((1, 2), 1e-9), np.zeros((1, 2)))
    np.testing.assert_allclose(ops.convert_to_numpy(kl), 1e-18, rtol=1e-12)
