"""Article: https://kexue.fm/archives/7169"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.regularizers import MaskedOrthogonality
from tests.contract import normal, to_numpy


def by_hand(w):
    """Eq. (5), one pair of filters at a time."""
    w = w.astype("float64").reshape(-1, w.shape[-1])
    k = w.shape[1]
    return sum(
        (w[:, i] @ w[:, j]) ** 2 for i in range(k) for j in range(k) if i != j
    )


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 5, 4), (7, 1)])
def test_matches_eq_5(shape):
    w = normal(*shape)
    ours = to_numpy(MaskedOrthogonality(0.3)(w))
    np.testing.assert_allclose(ours, 0.3 * by_hand(w), rtol=1e-5)


def test_lengths_are_free_and_orthogonal_filters_cost_nothing():
    q = np.linalg.qr(normal(6, 4))[0] * [1.0, 20.0, 0.1, 3.0]
    assert abs(to_numpy(MaskedOrthogonality(1.0)(q))) < 1e-8
    assert to_numpy(MaskedOrthogonality(1.0)(normal(6, 4))) > 0.1
    assert to_numpy(MaskedOrthogonality(0)(normal(6, 4))) == 0


def test_descent_turns_filters_apart():
    w = ops.convert_to_tensor(normal(6, 3))
    start = to_numpy(MaskedOrthogonality(1.0)(w))
    for _ in range(100):
        w = w - 0.02 * gradient(MaskedOrthogonality(1.0), w)
    assert to_numpy(MaskedOrthogonality(1.0)(w)) < 1e-3 * start


def test_half_precision_kernels_do_not_overflow():
    w = ops.cast(200 * normal(6, 4), "float16")
    y = MaskedOrthogonality(1.0)(w)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert np.isfinite(to_numpy(y))


def test_bad_input_is_refused():
    for factor in (-1, np.nan, "1", None):
        with pytest.raises(ValueError, match="Received: factor="):
            MaskedOrthogonality(factor)
    with pytest.raises(ValueError, match=r"Received: shape=\(6,\)"):
        MaskedOrthogonality()(normal(6))


@pytest.mark.parametrize("factor", [True, np.nan, np.inf, "1"])
def test_what_is_no_number_is_refused(factor):
    with pytest.raises(ValueError, match=f"Received: factor={factor!r}"):
        MaskedOrthogonality(factor)


def test_numpy_number_is_a_number():
    config = MaskedOrthogonality(np.float32(0.5)).get_config()
    assert type(config["factor"]) is float


def test_nan_is_seen():
    w = normal(4, 3)
    w[2, 1] = np.nan
    assert np.isnan(to_numpy(MaskedOrthogonality()(w)))
