"""Article: https://kexue.fm/archives/8130
《让研究人员绞尽脑汁的Transformer位置编码》
"""

import numpy as np
import pytest

from su_models.layers.attention.scores import (
    attention_context,
    attention_scores,
)
from tests.contract import normal, to_numpy

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
    got = attention_scores(q, k, bias, r)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_context_matches_eq_5(shared):
    weights, v, r = normal(B, H, N, M), normal(B, M, H, D), normal(B, N, M, D)
    r = r[:1] if shared else r
    want = loop_context(weights, v, np.broadcast_to(r, (B, N, M, D)))
    got = attention_context(weights, v, r)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


def test_wrong_shapes_are_refused():
    q, k, weights = normal(B, N, H, D), normal(B, M, H, D), normal(B, H, N, M)
    with pytest.raises(ValueError, match="Received: relative_embeddings of"):
        attention_scores(q, k, relative_embeddings=normal(N, M, D))
    with pytest.raises(ValueError, match="Received: relative_embeddings of"):
        attention_context(weights, k, normal(1, N, M, D + 1))
    with pytest.raises(ValueError, match="Received: attention_bias of shape"):
        attention_scores(q, k, bias=normal(B, H, M, N))
