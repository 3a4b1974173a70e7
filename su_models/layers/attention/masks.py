"""Brings the masks that attention layers receive into one form.

True always means "attend". A key mask is `(batch, keys)`, a pair mask is
`(batch, queries, keys)`; a key mask needs no quadratic memory.
"""

import collections

from keras import ops

from su_models.ops.attention_mask import causal_mask
from su_models.utils.checks import check_mask, check_shape

# The keys and pairs that may be attended to; None masks nothing. `keys` are
# booleans `(1|batch, m)`, `pairs` booleans `(1|batch, 1|n, m)`. If `causal`,
# query i also attends to no key after i.
AttentionMasks = collections.namedtuple(
    "AttentionMasks", ["keys", "pairs", "causal"], defaults=[None, None, False]
)


def joined_mask(masks, n, m):
    """Joins all masks into one, `(1|batch, 1|n, m)`, or None.

    Args:
        masks: `AttentionMasks`.
        n: number of queries, an integer or a scalar tensor.
        m: number of keys, likewise.
    """
    # key masks become (1|b, 1, m)
    mask = None if masks.keys is None else ops.expand_dims(masks.keys, 1)
    mask = both_masks(mask, masks.pairs)
    return both_masks(mask, causal_mask(n, m) if masks.causal else None)


def split_attention_mask(query_shape, key_shape, attention_mask, key_masks=()):
    """Joins all masks into one key mask and one pair mask.

    Args:
        query_shape: static shape of the queries, `(batch, n, ...)`.
        key_shape: static shape of the keys, `(batch, m, ...)`.
        attention_mask: None, a key mask `(batch, m)`, or a pair mask
            `(batch, n, m)`. Every axis but the last may have size 1.
        key_masks: a dict from names to key masks or None, such as the masks
            that an upstream layer attached.

    Returns:
        `(key_mask, pair_mask)`: booleans, `(1|b, m)` and `(1|b, 1|n, m)`,
        each None if it masks nothing.

    Raises:
        ValueError: if a mask has another shape, or holds floating-point
            numbers (an additive mask of 0 and -inf would be inverted).
    """
    b, n = query_shape[:2]
    m = key_shape[1]
    pair_mask, given = None, dict(key_masks)
    if attention_mask is not None:
        attention_mask = check_mask("attention_mask", attention_mask)
        if len(attention_mask.shape) == 3:
            check_shape("attention_mask", attention_mask, (b, n, m), 2)
            pair_mask = attention_mask
        else:
            given["attention_mask"] = attention_mask
    key_mask = None
    for name, mask in given.items():
        if mask is None:
            continue
        mask = check_mask(name, mask)
        check_shape(name, mask, (b, m), 1)
        key_mask = both_masks(key_mask, mask)
    return key_mask, pair_mask


def both_masks(mask, other):
    """Returns the conjunction of two masks; None masks nothing."""
    if mask is None or other is None:
        return other if mask is None else mask
    return ops.logical_and(mask, other)
