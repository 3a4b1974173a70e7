"""Scores and contexts of dense attention, which keeps every pair in memory.

Queries may have more heads than keys and values: then a group of query heads
shares one head of keys and values (grouped queries). Sums are accumulated and
returned in float32, or in float64 for operands in float64.
"""

from keras import ops

from su_models.backend.precision import accumulated_einsum, accumulated_matmul
from su_models.utils.checks import check_shape


def attention_scores(q, k, bias=None):
    """Returns `q·k` plus a bias, for every head and pair.

    With a bias β, the scores are q_i·k_j + β_ij, Eq. (10) of article 8130.

    Args:
        q: queries `(batch, n, heads, dim)`, scaled.
        k: keys `(batch, m, groups, dim)`; `groups` divides `heads`.
        bias: `(1|batch, 1|heads, n, m)`.

    Returns:
        A tensor `(batch, heads, n, m)`.
    """
    n, m = ops.shape(q)[1], ops.shape(k)[1]
    h, groups = q.shape[2], k.shape[2]
    if h == groups:
        scores = accumulated_einsum("bnhd,bmhd->bhnm", q, k)  # (b, h, n, m)
    else:
        scores = accumulated_einsum("bngrd,bmgd->bgrnm", _grouped(q, groups), k)
        scores = ops.reshape(scores, (ops.shape(q)[0], h, n, m))
    if bias is not None:
        shape = (q.shape[0], h, q.shape[1], k.shape[1])
        check_shape("attention_bias", bias, shape, broadcast=2)
        scores = ops.add(scores, bias)
    return scores


def attention_context(weights, v):
    """Returns the weighted sums of values, `(batch, n, heads, dim)`.

    Args:
        weights: `(batch, heads, n, m)`.
        v: values `(batch, m, groups, dim)`; `groups` divides `heads`.
    """
    b, h, n, m = ops.shape(weights)
    v = ops.transpose(v, (0, 2, 1, 3))  # (b, groups, m, d)
    groups, dim = v.shape[1], v.shape[3]
    if h != groups:
        weights = ops.reshape(weights, (b, groups, h // groups * n, m))
    # a product of matrices: XLA:CPU computes other forms of it slowly
    context = accumulated_matmul(weights, v)
    if h != groups:
        context = ops.reshape(context, (b, h, n, dim))
    return ops.transpose(context, (0, 2, 1, 3))


def relative_scores(q, relative_embeddings, m):
    """Returns `q_i·R_ij`, the term of Eq. (4) of article 8130.

    Args:
        q: queries `(batch, n, heads, dim)`, scaled.
        relative_embeddings: R, `(1|batch, n, m, dim)`.
        m: number of keys, None if unknown.

    Returns:
        A tensor `(batch, heads, n, m)`.
    """
    _check(relative_embeddings, (*q.shape[:2], m, q.shape[-1]))
    return _shared("bnhd,bnmd->bhnm", q, relative_embeddings)


def relative_context(weights, relative_embeddings, dim):
    """Returns `Σ_j a_ij R_ij`, the term of Eq. (5) of article 8130.

    Args:
        weights: a, `(batch, heads, n, m)`.
        relative_embeddings: R, `(1|batch, n, m, dim)`.
        dim: size of a head of the values.

    Returns:
        A tensor `(batch, n, heads, dim)`.
    """
    b, _, n, m = weights.shape
    _check(relative_embeddings, (b, n, m, dim))
    return _shared("bhnm,bnmd->bnhd", weights, relative_embeddings)


def repeated_heads(x, heads):
    """Repeats each head of keys or values for its group of query heads.

    Args:
        x: `(batch, m, groups, dim)`.
        heads: number of heads of the queries; `groups` divides it.

    Returns:
        A tensor `(batch, m, heads, dim)`.
    """
    _, _, groups, dim = x.shape
    if groups == heads:
        return x
    copies = ops.stack([x] * (heads // groups), axis=3)  # (b, m, groups, r, d)
    return ops.reshape(copies, (*ops.shape(x)[:2], heads, dim))


def _grouped(q, groups):
    """Returns `(b, n, groups, heads / groups, dim)`."""
    h, d = q.shape[2:]
    return ops.reshape(q, (*ops.shape(q)[:2], groups, h // groups, d))


def _check(relative_embeddings, shape):
    name = "relative_embeddings"
    check_shape(name, relative_embeddings, shape, broadcast=1)


def _shared(equation, x, relative_embeddings):
    """Returns a product with embeddings that samples may share."""
    if relative_embeddings.shape[0] == 1:
        equation = equation.replace(",b", ",")
        relative_embeddings = relative_embeddings[0]  # (n, m, d)
    return accumulated_einsum(equation, x, relative_embeddings)
