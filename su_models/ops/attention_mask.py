"""Pair masks of attention: which query may attend to which key.

True always means "attend".
"""

import keras
from keras import ops


def causal_mask(num_queries, num_keys, offset=0):
    """Returns `(1, n, m)`: query i may attend to key j if j <= i + offset.

    Args:
        num_queries: n, an integer or a scalar tensor.
        num_keys: m, likewise.
        offset: position of the first query; a scalar, or integers `(batch,)`
            for a mask `(batch, n, m)`.
    """
    i = ops.reshape(ops.convert_to_tensor(offset), (-1, 1, 1))  # (1|b, 1, 1)
    i = ops.cast(i, "int32") + ops.reshape(ops.arange(num_queries), (1, -1, 1))
    return ops.reshape(ops.arange(num_keys), (1, 1, -1)) <= i


def prefix_mask(segment_ids):
    """Returns `(batch, n, n)`: bidirectional in a prefix, causal after it.

    With c the running sum of the segments, query i may attend to key j if
    c_j <= c_i. A token of segment 0 is visible to its segment and to all later
    tokens, a token of segment 1 to itself and to later tokens (UniLM, article
    6933). The result can be the `attention_mask` of every attention layer,
    also in functional models.

    Args:
        segment_ids: integers `(batch, n)`; 0 in the prefix, 1 in the target.

    Raises:
        ValueError: if `segment_ids` are not integers of this shape.
    """
    if not isinstance(segment_ids, keras.KerasTensor):
        segment_ids = ops.convert_to_tensor(segment_ids)
    dtype = keras.backend.standardize_dtype(segment_ids.dtype)
    if len(segment_ids.shape) != 2 or not keras.backend.is_int_dtype(dtype):
        raise ValueError(
            "`segment_ids` must be integers `(batch, length)`. Received: "
            f"segment_ids of {dtype} and shape {tuple(segment_ids.shape)}"
        )
    c = ops.cumsum(ops.cast(segment_ids, "int32"), axis=1)  # (b, n)
    return ops.expand_dims(c, 1) <= ops.expand_dims(c, 2)  # (b, n, n)
