"""Which query may attend to which key: the masks of attention, and one form.

Everywhere True means "attend". A key mask is `(batch, keys)`, a pair mask
`(batch, queries, keys)`; the first is free of anything quadratic.
"""

import keras
from keras import ops

from su_models.ops.check_shape import check_shape


def split_attention_mask(query_shape, key_shape, attention_mask, key_masks=()):
    """Returns what may be attended to, as a key mask and a pair mask.

    Args:
        query_shape: static shape of the queries, `(batch, n, ...)`.
        key_shape: static shape of the keys, `(batch, m, ...)`.
        attention_mask: None, a key mask `(batch, m)`, or a pair mask
            `(batch, n, m)`. An axis of a pair mask other than the last may
            be 1, and so may the batch of a key mask.
        key_masks: a dict from names to key masks or None, such as those that
            an upstream layer attached.

    Returns:
        `(key_mask, pair_mask)`: booleans, `(1|b, m)` and `(1|b, 1|n, m)`,
        each None where nothing is masked.

    Raises:
        ValueError: if a mask has another shape, or is of floating numbers
            (an additive mask of 0 and -inf would be read the wrong way).
    """
    b, n = query_shape[:2]
    m = key_shape[1]
    pair_mask, given = None, dict(key_masks)
    if attention_mask is not None:
        attention_mask = _boolean("attention_mask", attention_mask)
        if len(attention_mask.shape) == 3:
            check_shape("attention_mask", attention_mask, (b, n, m), 2)
            pair_mask = attention_mask
        else:
            given["attention_mask"] = attention_mask
    key_mask = None
    for name, mask in given.items():
        if mask is None:
            continue
        mask = _boolean(name, mask)
        check_shape(name, mask, (b, m), 1)
        key_mask = mask if key_mask is None else key_mask & mask
    return key_mask, pair_mask


def join_attention_mask(key_mask, pair_mask):
    """Returns both masks as one of shape `(1|b, 1|n, m)`, or None."""
    if key_mask is None:
        return pair_mask
    key_mask = ops.expand_dims(key_mask, 1)  # (1|b, 1, m)
    return key_mask if pair_mask is None else key_mask & pair_mask


def _boolean(name, mask):
    mask = ops.convert_to_tensor(mask)
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"`{name}` must be boolean, True where to attend. "
            f"Received: {name} of {dtype}"
        )
    return ops.cast(mask, "bool")


def both_masks(mask, other):
    """Returns what both masks let through; None lets everything through."""
    if mask is None or other is None:
        return other if mask is None else mask
    return mask & other


def causal_mask(num_queries, num_keys, offset=0):
    """Returns `(1, n, m)`: key j may be seen by query i if j <= i + offset.

    Args:
        num_queries: n, an integer or a scalar tensor.
        num_keys: m, likewise.
        offset: position of the first query; a scalar, or integers `(batch,)`
            for a mask `(batch, n, m)`.
    """
    i = ops.reshape(ops.convert_to_tensor(offset), (-1, 1, 1))
    i = ops.cast(i, "int32") + ops.reshape(ops.arange(num_queries), (1, -1, 1))
    return ops.reshape(ops.arange(num_keys), (1, 1, -1)) <= i


def prefix_mask(segment_ids):
    """Returns `(batch, n, n)`: a prefix is seen whole, what follows causally.

    With c the running sum of the segments, key j may be seen by query i if
    c_j <= c_i: where segments are 0 nobody waits, where they are 1 each token
    sees the prefix and what came before it (UniLM, article 6933).

    Args:
        segment_ids: integers `(batch, n)`; 0 the prefix, 1 the target.

    Raises:
        ValueError: if `segment_ids` are no integers of this shape.
    """
    segment_ids = ops.convert_to_tensor(segment_ids)
    dtype = keras.backend.standardize_dtype(segment_ids.dtype)
    if len(segment_ids.shape) != 2 or not keras.backend.is_int_dtype(dtype):
        raise ValueError(
            "`segment_ids` must be integers `(batch, length)`. Received: "
            f"segment_ids of {dtype} and shape {tuple(segment_ids.shape)}"
        )
    c = ops.cumsum(ops.cast(segment_ids, "int32"), axis=1)  # (b, n)
    return ops.expand_dims(c, 1) <= ops.expand_dims(c, 2)
