"""Losses asked for in 16 bits, whose sums would overflow or stand still."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.losses import (
    MultilabelCrossentropy,
    SmoothAccuracy,
    SmoothF1,
    SparseMultilabelCrossentropy,
    TaiLrCrossentropy,
)
from tests.contract.base import normal, to_numpy
from tests.long_sums import sum_in

each_half = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
CLASSES = 3000
LOSSES = {
    "MultilabelCrossentropy": (MultilabelCrossentropy, {}),
    "SmoothAccuracy": (SmoothAccuracy, {"from_logits": False}),
    "SmoothF1": (SmoothF1, {"from_logits": False, "average": "micro"}),
    "SparseMultilabelCrossentropy": (SparseMultilabelCrossentropy, {}),
    "TaiLrCrossentropy": (TaiLrCrossentropy, {"gamma": 0.1}),
}


def batch(name, dtype):
    """Returns targets, numbers of classes among them, and predictions."""
    y_pred = ops.cast(0.1 * np.abs(normal(5, CLASSES)) + 0.2, dtype)
    numbers = np.array([[2999], [2051], [0], [7], [1025]])
    if name in ("MultilabelCrossentropy", "SmoothF1"):
        return np.eye(CLASSES, dtype="float32")[numbers[:, 0]], y_pred
    return numbers, y_pred


@each_half
@pytest.mark.parametrize("name", LOSSES)
def test_only_the_result_has_the_dtype_asked_for(name, dtype):
    cls, init = LOSSES[name]
    y_true, y_pred = batch(name, dtype)
    low = cls(**init, dtype=dtype)(y_true, y_pred)
    assert keras.backend.standardize_dtype(low.dtype) == dtype
    exact = to_numpy(cls(**init)(y_true, y_pred))
    unit = 2.0 ** (-11 if dtype == "float16" else -8)
    low = to_numpy(ops.cast(low, "float32"))
    np.testing.assert_allclose(low, exact, rtol=unit)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64", None])
def test_dtype_may_be_a_policy(policy):
    if keras.config.backend() == "jax" and policy == "float64":
        pytest.skip("JAX has float64 where it is switched on alone")
    dtype = policy and keras.DTypePolicy(policy)
    loss = SmoothAccuracy(dtype=dtype)([1], [[0.0, 0.0]])
    expected = {"mixed_bfloat16": "bfloat16", "float64": "float64"}
    found = keras.backend.standardize_dtype(loss.dtype)
    assert found == expected.get(policy, "float32")


def test_sum_over_a_batch_does_not_overflow():
    """Keras would reduce in the dtype of the loss."""
    n = 9000
    y_pred = np.zeros((n, 2), "float16")
    y_pred[:, 0] = -10
    each = 10 + np.log1p(np.exp(-10))
    loss = TaiLrCrossentropy(0.0, dtype="float16")
    np.testing.assert_allclose(
        to_numpy(ops.cast(loss(np.zeros(n), y_pred), "float32")), each, 2e-3
    )
    assert n * each > np.finfo("float16").max
    assert sum_in("float16", np.full(n, each)) / n < each / 2
