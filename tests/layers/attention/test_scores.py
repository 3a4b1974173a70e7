"""Article: https://kexue.fm/archives/8130
《让研究人员绞尽脑汁的Transformer位置编码》
"""

import numpy as np
import pytest
from keras import ops

from su_models.layers.attention.scores import (
    attention_context,
    attention_scores,
    relative_context,
    relative_scores,
    repeated_heads,
)
from tests.contract import normal, to_numpy
from tests.long_sums import assert_accumulated

B, N, M, H, D = 2, 4, 5, 3, 6


def loop_scores(q, k, r, bias):
    scores = np.zeros((B, H, N, M))
    for b, h, i, j in np.ndindex(scores.shape):
        scores[b, h, i, j] = q[b, i, h] @ (k[b, j, h] + r[b, i, j])
        scores[b, h, i, j] += bias[b, h, i, j]
    return scores


def loop_context(weights, v, r):
    context = np.zeros((B, N, H, D))
    for b, h, i, j in np.ndindex(weights.shape):
        context[b, i, h] += weights[b, h, i, j] * (v[b, j, h] + r[b, i, j])
    return context


@pytest.mark.parametrize("shared", [True, False])
def test_scores_match_eq_4_and_10(shared):
    q, k = normal(B, N, H, D), normal(B, M, H, D)
    r, bias = normal(B, N, M, D), normal(B, H, N, M)
    if shared:
        r, bias = r[:1], bias[:1, :1]
    want = loop_scores(
        q,
        k,
        *(np.broadcast_to(x, (B, *x.shape[1:])) for x in (r,)),
        np.broadcast_to(bias, (B, H, N, M)),
    )
    got = attention_scores(q, k, bias) + relative_scores(q, r, M)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_context_matches_eq_5(shared):
    weights, v, r = normal(B, H, N, M), normal(B, M, H, D), normal(B, N, M, D)
    r = r[:1] if shared else r
    want = loop_context(weights, v, np.broadcast_to(r, (B, N, M, D)))
    got = attention_context(weights, v) + relative_context(weights, r, D)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_a_group_of_heads_shares_keys_and_values(groups):
    q, k, v = normal(B, N, 6, D), normal(2, B, M, groups, D)[0], None
    v, weights = 1 - k, normal(B, 6, N, M)
    shared = np.arange(6) // (6 // groups)  # of the heads of the queries
    want = np.einsum("bnhd,bmhd->bhnm", q, k[:, :, shared])
    np.testing.assert_allclose(
        to_numpy(attention_scores(q, k)), want, atol=1e-5
    )
    want = np.einsum("bhnm,bmhd->bnhd", weights, v[:, :, shared])
    np.testing.assert_allclose(
        to_numpy(attention_context(weights, v)), want, atol=1e-5
    )
    np.testing.assert_array_equal(
        to_numpy(repeated_heads(k, 6)), k[:, :, shared]
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_are_accumulated_in_float32(dtype):
    """A running sum in 16 bits of 4 096 terms would stop growing."""
    size = 4096
    x = ops.cast(np.linspace(0.5, 1.0, size), dtype)
    terms = to_numpy(x).astype("float64")
    one = ops.ones((1, 1, 1, size), dtype)
    row = ops.reshape(x, (1, 1, 1, size))
    column = ops.reshape(x, (1, size, 1, 1))
    for got in (
        attention_scores(one, row),
        relative_scores(one, row, 1),
        attention_context(one, column),
        relative_context(one, ops.reshape(x, (1, 1, size, 1)), 1),
    ):
        assert_accumulated(to_numpy(got)[0, 0, 0, 0], terms, dtype)


def test_wrong_shapes_are_refused():
    q, k, weights = normal(B, N, H, D), normal(B, M, H, D), normal(B, H, N, M)
    for r in (normal(N, M, D), normal(1, N, 1, D)):
        with pytest.raises(ValueError, match="Received: relative_embeddings"):
            relative_scores(q, r, M)
    for r in (normal(1, N, M, D + 1), normal(1, N, 1, D)):
        with pytest.raises(ValueError, match="Received: relative_embeddings"):
            relative_context(weights, r, D)
    with pytest.raises(ValueError, match="Received: attention_bias of shape"):
        attention_scores(q, k, bias=normal(B, H, M, N))
