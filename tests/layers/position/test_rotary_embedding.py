"""Article: https://kexue.fm/archives/8265"""

import keras
import numpy as np
import pytest

from su_models.layers import RotaryEmbedding
from tests.contract import check_layer, to_numpy


def rotate(x, positions, base=10000.0):
    """Eq. (9) read literally: complex numbers, and one loop per index."""
    y = np.empty(x.shape, "float64")
    d = x.shape[-1]
    for n, m in enumerate(positions):
        for i in range(d // 2):
            z = x[:, n, ..., 2 * i] + 1j * x[:, n, ..., 2 * i + 1]
            z = z * np.exp(1j * m * base ** (-2 * i / d))
            y[:, n, ..., 2 * i], y[:, n, ..., 2 * i + 1] = z.real, z.imag
    return y


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract(tmp_path):
    check_layer(RotaryEmbedding, {"base": 500.0}, normal(2, 7, 3, 6), tmp_path)


@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 7, 3, 6), (1, 1, 2)])
def test_matches_eq_9(shape):
    x = normal(*shape)
    y = to_numpy(RotaryEmbedding()(x))
    np.testing.assert_allclose(y, rotate(x, range(shape[1])), atol=1e-5)


def test_scores_depend_on_relative_position_only():  # Eq. (12)
    q, k = normal(2, 1, 5, 8)
    rope = RotaryEmbedding()

    def scores(shift):
        p = np.arange(5) + shift
        x, y = (to_numpy(rope(t, positions=p))[0] for t in (q, k))
        return x @ y.T

    np.testing.assert_allclose(scores(0), scores(137), atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_positions_beyond_the_range_of_low_precision(policy):
    x = np.ones((1, 3, 8), "float32")
    p = np.array([4096, 4097, 8191])  # 4097 is no float16
    y = to_numpy(RotaryEmbedding(dtype=policy)(x, positions=p))
    np.testing.assert_allclose(y, rotate(x, p), atol=2e-2)


def test_mask_reaches_the_next_layer():
    ids = keras.layers.Embedding(9, 4, mask_zero=True)
    mean = keras.layers.GlobalAveragePooling1D()
    net = keras.Sequential([ids, RotaryEmbedding(), mean])
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([3, 4, 0], [3, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-6)


def test_odd_dim_is_refused():
    with pytest.raises(ValueError, match=r"even. Received: .*\(2, 7, 5\)"):
        RotaryEmbedding()(normal(2, 7, 5))
