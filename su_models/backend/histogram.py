"""Histograms of small integers."""

from keras import ops

from su_models.backend.tracing import is_known


def histogram(bins, count):
    """Counts the entries of `bins` that are 0, ..., count - 1.

    Args:
        bins: int32 `(n,)`, each in 0, ..., count - 1.
        count: int > 0.

    Returns:
        int32 `(count,)`.
    """
    if is_known(bins):
        return ops.cast(ops.bincount(bins, minlength=count), "int32")
    # in a trace, `bincount` has no known length
    ones = ops.ones_like(bins)
    return ops.segment_sum(ones, bins, num_segments=count)
