"""A cache of keys and values of fixed size, for decoding."""

import keras
import numpy as np
from keras import ops

from su_models.backend.indices import (
    check_indices,
    nan_outside,
    update_slice,
)
from su_models.backend.tracing import is_known
from su_models.utils.checks import check_shape


def update_cache(cache, new, index):
    """Returns `cache` with `new` written from slot `index` on.

    The size of the cache is fixed, so one compiled step serves every position.
    The function is for decoding only: TensorFlow has no gradient for the form
    with one index.

    Args:
        cache: `(batch, heads, slots, dim)`. The slots of a head are adjacent
            in memory, in the order in which the product reads them.
        new: `(batch, heads, n, dim)`.
        index: an integer, or integers `(batch,)`, one slot for each sample.

    Returns:
        A tensor like `cache`. If `new` does not fit, a compiled program, which
        cannot read `index` to raise an error, writes NaN instead, and tokens
        that attend to these slots become NaN.

    Raises:
        ValueError: if `new` does not fit, or `index` is not an integer.
    """
    index, inside = _check_index(index, ops.shape(cache)[2], ops.shape(new)[2])
    if len(index.shape):
        check_shape("index", index, (new.shape[0],))
    new = nan_outside(ops.cast(new, cache.dtype), inside)
    if len(index.shape) == 0:
        return update_slice(cache, (0, 0, index, 0), new)
    b, h, n = ops.shape(new)[:3]
    row = ops.reshape(ops.arange(b), (-1, 1, 1))  # (b, 1, 1)
    head = ops.reshape(ops.arange(h), (1, -1, 1))  # (1, h, 1)
    slot = ops.reshape(index, (-1, 1, 1)) + ops.arange(n)  # (b, 1, n)
    zero = ops.zeros_like(row + head + slot)
    # (b, h, n, 3)
    where = ops.stack([row + zero, head + zero, slot + zero], axis=-1)
    return ops.scatter_update(
        cache,
        ops.reshape(where, (-1, 3)),
        ops.reshape(new, (-1, cache.shape[-1])),
    )


def _check_index(index, slots, n):
    """Returns int32 indices that fit, and whether the given ones did."""
    if hasattr(index, "dtype"):
        integer = keras.backend.is_int_dtype(index.dtype)
    else:
        integer = np.asarray(index).dtype.kind in "iu"
    if not integer:
        raise ValueError(
            "`index` must be an integer, or integers `(batch,)`. "
            f"Received: index={index!r}"
        )
    if is_known(slots) and is_known(n) and n > slots:
        raise ValueError(
            f"{n} tokens do not fit in a cache of {slots} slots. "
            f"Received: index={index}"
        )
    return check_indices("index", index, slots - n + 1)
