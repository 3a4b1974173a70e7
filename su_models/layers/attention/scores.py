"""Scores and contexts of attention with every pair in memory."""

from keras import ops

from su_models.utils.checks import check_shape


def attention_scores(q, k, bias=None, relative_embeddings=None):
    """Returns `q·k`, of every head and pair, `(batch, heads, n, m)`.

    With embeddings R of relative positions (Eq. (4) of article 8130) and a
    bias β (Eq. (10)) it is q_i·(k_j + R_ij) + β_ij.

    Args:
        q: queries `(batch, n, heads, dim)`, scaled.
        k: keys `(batch, m, heads, dim)`.
        bias: `(1|batch, 1|heads, n, m)`.
        relative_embeddings: `(1|batch, n, m, dim)`.
    """
    scores = ops.einsum("bnhd,bmhd->bhnm", q, k)
    b, h, n, m = scores.shape
    if relative_embeddings is not None:
        _check(relative_embeddings, (b, n, m, q.shape[-1]))
        scores = scores + _shared("bnhd,bnmd->bhnm", q, relative_embeddings)
    if bias is not None:
        check_shape("attention_bias", bias, (b, h, n, m), broadcast=2)
        scores = ops.add(scores, bias)
    return scores


def attention_context(weights, v, relative_embeddings=None):
    """Returns the weighted sums of values, `(batch, n, heads, dim)`.

    With embeddings R of relative positions the values are v_j + R_ij
    (Eq. (5) of article 8130).

    Args:
        weights: `(batch, heads, n, m)`.
        v: values `(batch, m, heads, dim)`.
        relative_embeddings: `(1|batch, n, m, dim)`.
    """
    context = ops.einsum("bhnm,bmhd->bnhd", weights, v)
    if relative_embeddings is not None:
        b, _, n, m = weights.shape
        _check(relative_embeddings, (b, n, m, v.shape[-1]))
        context = context + _shared(
            "bhnm,bnmd->bnhd", weights, relative_embeddings
        )
    return context


def _check(relative_embeddings, shape):
    name = "relative_embeddings"
    check_shape(name, relative_embeddings, shape, broadcast=1)


def _shared(equation, x, relative_embeddings):
    """Returns the product with embeddings that all samples may share."""
    if relative_embeddings.shape[0] == 1:
        equation = equation.replace(",b", ",")
        relative_embeddings = relative_embeddings[0]
    return ops.einsum(equation, x, relative_embeddings)
