"""Article: https://kexue.fm/archives/8823
    《从熵不变性看Attention的Scale操作》
Article: https://kexue.fm/archives/9019
    《听说Attention与Softmax更配哦～》
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import gradient
from su_models.layers.attention.masks import AttentionMasks
from su_models.layers.attention.weights import (
    NORMALIZATIONS,
    attention_weights,
    softmax_attention,
)
from tests.contract import integers, normal, to_numpy
from tests.long_sums import assert_accumulated


def reference(scores, mask, normalization):
    """The three formulas, one query at a time."""
    weights = np.zeros(scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        keys = np.flatnonzero(mask[row])
        if not len(keys):
            continue
        a = scores[row][keys].astype("float64")
        if normalization == "squared_relu":
            weights[row][keys] = np.maximum(a, 0) ** 2 / len(keys)
            continue
        if normalization == "softmax_plus":
            a = a * np.log(max(len(keys), 16)) / np.log(512)
        weights[row][keys] = np.exp(a) / np.exp(a).sum()
    return weights


def masked(n=20):
    mask = integers(2, 2, 1, 5, n).astype(bool)
    mask[0, 0, 3] = False  # a query with nothing to attend to
    return np.broadcast_to(mask, (2, 3, 5, n))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_matches_its_formula(normalization):
    scores, mask = 3 * normal(2, 3, 5, 20), masked()
    for m in (mask, None):
        full = np.ones(scores.shape, bool) if m is None else m
        np.testing.assert_allclose(
            to_numpy(attention_weights(scores, m, normalization)),
            reference(scores, full, normalization),
            atol=1e-6,
        )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_masked_scores_may_be_anything(normalization):
    scores, mask = normal(2, 3, 5, 20), masked()
    wild = np.where(mask, scores, np.float32(np.inf))
    np.testing.assert_array_equal(
        to_numpy(attention_weights(wild, mask, normalization)),
        to_numpy(attention_weights(scores, mask, normalization)),
    )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_is_finite_and_0_where_masked(normalization):
    scores, mask = normal(2, 3, 5, 20), masked()
    keys, v = ops.convert_to_tensor(mask), ops.convert_to_tensor(normal(20))

    def loss(s):
        return ops.sum(attention_weights(s, keys, normalization) * v)

    slope = to_numpy(gradient(loss, scores))
    assert np.isfinite(slope).all()
    assert not slope[~mask].any()
    assert slope[mask].any()


def test_softmax_plus_is_softmax_at_the_length_it_was_tuned_to():
    scores = normal(3, 512)
    np.testing.assert_allclose(
        to_numpy(attention_weights(scores, None, "softmax_plus")),
        to_numpy(attention_weights(scores)),
        atol=1e-6,
    )


def entropy(normalization, n):
    """Mean entropy of weights of focused queries, by the number of keys."""
    d, random = 64, np.random.default_rng(0)
    q, k = random.normal(size=(64, d)), random.normal(size=(n, d))
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    scores = 4 * d**0.5 * q @ k.T
    a = to_numpy(attention_weights(scores, None, normalization)) + 1e-30
    return -(a * np.log(a)).sum(axis=1).mean()


def test_softmax_plus_keeps_the_entropy_as_the_length_grows():  # Eq. (3)
    grown = {
        name: entropy(name, 2048) - entropy(name, 64)
        for name in ("softmax", "softmax_plus")
    }
    assert grown["softmax"] > 1.4
    assert abs(grown["softmax_plus"]) < 0.2


@pytest.mark.parametrize("is_causal", [True, False])
def test_fused_attention_is_the_product_with_the_weights(is_causal):
    q, k, v = normal(3, 2, 5, 3, 4)
    pairs = None if is_causal else masked(5)[:, 0]
    full = np.tri(5, dtype=bool)[None, None] if is_causal else pairs[:, None]
    masks = AttentionMasks(None, pairs, is_causal)
    weights = attention_weights(ops.einsum("bnhd,bmhd->bhnm", q, k) / 2.0, full)
    for x, scale in ((q, None), (q / 2, 1.0)):
        context = to_numpy(softmax_attention(x, k, v, masks, scale))
        np.testing.assert_allclose(
            context,
            to_numpy(ops.einsum("bhnm,bmhd->bnhd", weights, v)),
            atol=1e-5,
        )
    if not is_causal:
        assert not context[0, 3].any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fused_attention_sums_in_float32(dtype):
    """Over 4 096 keys of equal weight, each term of which is tiny."""
    m, v = 4096, np.linspace(1.0, 2.0, 4096)
    v = ops.cast(np.tile(v[None, :, None, None], (1, 1, 1, 4)), dtype)
    q, k = (ops.zeros((1, n, 1, 4), dtype) for n in (2, m))
    terms = to_numpy(v)[0, :, 0, :].astype("float64") / m
    for n in range(2):
        context = to_numpy(softmax_attention(q, k, v))[0, n, 0]
        assert_accumulated(context, terms, dtype, roundings=2)


def test_float64_stays():
    scores = np.float64([[0.0, 1e-9]])
    if keras.backend.backend() == "jax":
        return  # unless it is told to, it has float32 alone
    weights = ops.convert_to_numpy(attention_weights(scores))
    assert weights.dtype == "float64"
    assert weights[0, 1] / weights[0, 0] - 1 == pytest.approx(1e-9, rel=1e-6)


def test_fused_attention_has_finite_gradients_where_nothing_is_attended_to():
    q, k, v = (ops.convert_to_tensor(x) for x in normal(3, 2, 5, 3, 4))
    masks = AttentionMasks(None, ops.convert_to_tensor(masked(5)[:, 0]))

    def loss(x):
        return ops.sum(ops.square(softmax_attention(x, k, v, masks)))

    slope = to_numpy(gradient(loss, q))
    assert np.isfinite(slope).all()
    assert not slope[0, 3].any() and slope[0, 2].any()


@pytest.mark.parametrize("normalization", ["softmax", "softmax_plus"])
def test_the_weight_of_a_single_key_is_1_unless_it_is_masked(normalization):
    scores = ops.convert_to_tensor(normal(2, 3, 4, 1))
    mask = np.array([[[[True]]], [[[False]]]])
    weights = attention_weights(scores, mask, normalization)
    np.testing.assert_array_equal(
        to_numpy(weights), np.broadcast_to(mask, (2, 3, 4, 1))
    )
