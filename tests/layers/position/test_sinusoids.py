"""Eq. (1) of https://kexue.fm/archives/8130, index by index."""

import numpy as np
import pytest

from su_models.layers.position.sinusoids import sinusoids
from tests.contract import to_numpy


@pytest.mark.parametrize("base", [10000.0, 500.0])
def test_matches_eq_1(base):
    positions = np.array([[0, 1, 7], [-3, 100, 511]])
    want = np.zeros((2, 3, 6))
    for i in range(3):
        angle = positions / base ** (2 * i / 6)
        want[..., 2 * i], want[..., 2 * i + 1] = np.sin(angle), np.cos(angle)
    got = to_numpy(sinusoids(positions, 6, base))
    np.testing.assert_allclose(got, want, atol=5e-5)
