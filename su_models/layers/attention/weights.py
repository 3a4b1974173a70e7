"""Attention weights from scores: softmax and its proposed replacements."""

import math

import keras
from keras import ops

from su_models.backend.precision import (
    fused_needs_wide_operands,
    sum_dtype,
    unrounded,
)
from su_models.layers.attention.masks import AttentionMasks, joined_mask
from su_models.layers.attention.scores import repeated_heads

NORMALIZATIONS = ("softmax", "softmax_plus", "squared_relu")

# the length at which softmax_plus equals softmax, and the least n it uses
_TUNED_LENGTH, _SHORTEST_LENGTH = 512, 16

_NO_MASKS = AttentionMasks()
_MASKED = -1e30  # in float32 or float64, where all of this is computed


def attention_weights(scores, mask=None, normalization="softmax"):
    """Returns how much each query attends to each key, in float32 or wider.

    With n the number of keys that a query may attend to:

        softmax       exp(a_j) / Σ exp(a_j)
        softmax_plus  softmax(a log_512 n)           Eq. (5) of article 8823
        squared_relu  relu(a_j)² / n                 Eq. (4) of article 8934

    A masked key has a weight of exactly 0; a query that may attend to no key
    has zero weights and zero gradient. softmax_plus uses n = 16 for shorter
    sequences, since the factor log n would flatten their weights.

    Args:
        scores: `(..., queries, keys)`, scaled.
        mask: booleans that broadcast against `scores`; True = attend.
        normalization: one of the three names.
    """
    scores = ops.convert_to_tensor(scores)
    scores = ops.cast(scores, sum_dtype(scores.dtype))
    if normalization == "squared_relu":
        weights = ops.square(ops.relu(scores)) / _count(scores, mask)
    else:
        if normalization == "softmax_plus":
            n = unrounded(
                "maximum", _count(scores, mask), float(_SHORTEST_LENGTH)
            )
            scores = scores * (ops.log(n) / math.log(_TUNED_LENGTH))
        if mask is not None:
            scores = ops.where(mask, scores, _MASKED)
        if scores.shape[-1] == 1:  # Keras warns of a softmax of one number
            weights = 0 * scores + 1
        else:
            weights = ops.softmax(scores, axis=-1)  # (..., n, m)
    return weights if mask is None else ops.where(mask, weights, 0.0)


def softmax_attention(q, k, v, masks=_NO_MASKS, scale=1.0):
    """Returns the contexts of softmax attention by the backend's fused kernel.

    The result equals `attention_weights` times the values, but the weights
    are not returned: PyTorch, and JAX on a GPU, need no memory for them.

    Args:
        q: queries, `(batch, n, heads, dim)`.
        k: keys, `(batch, m, groups, dim)`; `groups` divides `heads`.
        v: values, `(batch, m, groups, dim)`.
        masks: `AttentionMasks`; if causal, keys and queries have one length.
        scale: factor of the scores. None: `1 / √dim`.

    Returns:
        A tensor `(batch, n, heads, dim)`.
    """
    n, m = ops.shape(q)[1], ops.shape(k)[1]
    causal = masks.causal and masks.keys is None and masks.pairs is None
    # a causal kernel needs no mask of n² entries
    mask = None if causal else joined_mask(masks, n, m)
    if mask is not None:
        mask = ops.expand_dims(mask, 1)  # (1|b, 1, 1|n, m)
    k, v = (repeated_heads(x, q.shape[2]) for x in (k, v))
    dtype = keras.backend.standardize_dtype(v.dtype)
    if fused_needs_wide_operands(q, v, dtype):  # it would sum in 16 bits
        q, k, v = (ops.cast(x, sum_dtype(dtype)) for x in (q, k, v))
    context = ops.dot_product_attention(
        q,
        k,
        v,
        mask=mask,
        scale=scale,
        is_causal=causal,
        # Keras' TPU kernel applies the first sample's mask to all samples
        flash_attention=None if mask is None else False,
    )
    context = ops.cast(context, dtype)
    if mask is None:
        return context
    # whether a query may attend to some key, (1|b, 1|n, 1, 1)
    some = ops.transpose(ops.any(mask, axis=-1, keepdims=True), (0, 2, 1, 3))
    return ops.where(some, context, ops.zeros_like(context))


def _count(scores, mask):
    """Returns n, at least 1, as `(..., 1)` or a scalar."""
    if mask is None:
        return ops.cast(ops.shape(scores)[-1], scores.dtype)
    n = ops.sum(ops.cast(mask, scores.dtype), axis=-1, keepdims=True)
    return unrounded("maximum", n, 1.0)
