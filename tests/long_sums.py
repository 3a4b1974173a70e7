"""What a long sum loses in 16 bits, and what it may lose in 32."""

import ml_dtypes
import numpy as np


def sum_in(dtype, terms):
    """Returns the sums over the first axis as a loop in `dtype` has them."""
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    total = np.zeros(np.shape(terms)[1:], dtype)
    for term in np.asarray(terms).astype(dtype):
        total = (total + term).astype(dtype)
    return total.astype("float64")


def assert_accumulated(actual, terms, dtype, roundings=1):
    """Asserts that sums over the first axis were accumulated in float32.

    With u the unit of `dtype`, half the distance from 1 to the next number,
    the error is at most

        roundings · u · Σ|term|  +  n · 2⁻²⁴ · Σ|term|

    A loop in `dtype` must be off by eight times as much, or the terms are no
    test. Terms that are equal are the best: their roundings do not cancel.

    Args:
        actual: array `(...)`.
        terms: float64 array `(n, ...)`, exact from the operands.
        dtype: `"float16"` or `"bfloat16"`.
        roundings: how often operands, terms and result are rounded to it.
    """
    terms, actual = np.asarray(terms, "float64"), np.asarray(actual, "float64")
    unit = float(ml_dtypes.finfo(dtype).eps) / 2
    size = np.abs(terms).sum(axis=0)
    bound = (roundings * unit + len(terms) * 2.0**-24) * size
    exact = terms.sum(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = np.nan_to_num(np.abs(sum_in(dtype, terms) - exact), nan=np.inf)
    assert (lost / bound).max() > 8, "sums in 16 bits would pass as well"
    assert actual.shape == exact.shape
    assert np.isfinite(actual).all()
    assert (np.abs(actual - exact) / bound).max() <= 1
