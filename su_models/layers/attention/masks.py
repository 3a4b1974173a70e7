"""Masks as attention layers receive them, in one form.

Everywhere True means "attend". A key mask is `(batch, keys)`, a pair mask
`(batch, queries, keys)`; the first needs no quadratic memory.
"""

import collections

from keras import ops

from su_models.ops.attention_mask import causal_mask
from su_models.utils.checks import check_mask, check_shape

# What may be attended to; None lets everything through. `keys` are booleans
# `(1|batch, m)`, `pairs` `(1|batch, 1|n, m)`; if `causal`, query i attends to
# keys up to i alone, beside the masks.
AttentionMasks = collections.namedtuple(
    "AttentionMasks", ["keys", "pairs", "causal"], defaults=[None, None, False]
)


def joined_mask(masks, n, m):
    """Returns all masks as one, `(1|batch, 1|n, m)`, or None.

    Args:
        masks: `AttentionMasks`.
        n: number of queries, an integer or a scalar tensor.
        m: number of keys, likewise.
    """
    mask = None if masks.keys is None else ops.expand_dims(masks.keys, 1)
    mask = both_masks(mask, masks.pairs)
    return both_masks(mask, causal_mask(n, m) if masks.causal else None)


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
    """Returns what both masks let through; None lets everything through."""
    if mask is None or other is None:
        return other if mask is None else mask
    return ops.logical_and(mask, other)
