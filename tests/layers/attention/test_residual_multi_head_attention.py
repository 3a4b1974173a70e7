"""Article: https://kexue.fm/archives/8027
《RealFormer：把残差转移到Attention矩阵上面去》
"""

import keras
import numpy as np
import pytest

from su_models.layers import (
    MultiHeadAttention,
    RelativePositionEmbedding,
    ResidualMultiHeadAttention,
)
from tests.contract import JIT, normal, to_numpy
from tests.layers.attention.test_multi_head_attention import loop, some_mask

HEADS, DIM = 3, 4


def made(**more):
    layer = ResidualMultiHeadAttention(
        HEADS, DIM, bias_initializer="uniform", **more
    )
    layer.build((None, None, 8))
    return layer


def own_scores(layer, x):
    """A_n without its residual: products of each head, `(b, h, n, n)`."""
    q, k = (to_numpy(f(x)) for f in (layer.query_dense, layer.key_dense))
    return np.einsum("bnhd,bmhd->bhnm", q, k) / DIM**0.5


@pytest.mark.parametrize("accumulate", [True, False])
def test_three_layers_match_the_formula(accumulate):
    layers, x = [made(accumulate=accumulate) for _ in range(3)], normal(2, 7, 8)
    y, mask, scores = x, some_mask(7, 7), None
    residual = np.zeros((2, HEADS, 7, 7))
    for layer in layers:
        before = to_numpy(y)
        own = own_scores(layer, before)
        want = [  # the loop takes one bias for all samples
            loop(layer, before[b:][:1], before[b:][:1], mask[b:], bias=r)
            for b, r in enumerate(residual)
        ]
        more = {} if scores is None else {"residual_scores": scores}
        y, scores = layer(y, attention_mask=mask, **more)
        np.testing.assert_allclose(to_numpy(y), np.concatenate(want), atol=2e-5)
        residual = own + residual if accumulate else own
        np.testing.assert_allclose(to_numpy(scores), residual, atol=2e-5)


def test_without_a_residual_it_is_the_plain_layer():
    layer, plain, x = made(), MultiHeadAttention(HEADS, DIM), normal(2, 7, 8)
    plain.build((None, None, 8))
    plain.set_weights(layer.get_weights())
    got, _ = layer(x, use_causal_mask=True)
    want = plain(x, use_causal_mask=True)
    np.testing.assert_allclose(to_numpy(got), to_numpy(want), atol=1e-6)


def test_scores_are_before_masks_and_with_what_belongs_to_the_layer():
    layer, x = made(), normal(2, 7, 8)
    r, bias = normal(1, 7, 7, DIM), normal(1, HEADS, 7, 7)
    _, scores = layer(
        x, use_causal_mask=True, attention_bias=bias, relative_embeddings=r
    )
    q = to_numpy(layer.query_dense(x)) / DIM**0.5
    shift = np.einsum("bnhd,nmd->bhnm", q, r[0])
    np.testing.assert_allclose(
        to_numpy(scores), own_scores(layer, x) + shift + bias, atol=1e-5
    )


@pytest.mark.parametrize("sizes", [[1] * 7, [4, 1, 2]], ids=str)
@pytest.mark.parametrize("accumulate", [True, False])
def test_cached_decoding_equals_the_causal_pass(accumulate, sizes):
    """Of two layers with embeddings of relative positions (NEZHA)."""
    first, second = (made(accumulate=accumulate) for _ in range(2))
    embed, x = RelativePositionEmbedding(5, DIM), normal(2, 7, 8)
    given = {"use_causal_mask": True, "relative_embeddings": embed(x)}
    y, scores = first(x, **given)
    want, _ = second(y, residual_scores=scores, **given)
    caches, i = [layer.empty_cache(2, 7) for layer in (first, second)], 0
    for n in sizes:
        part, at = x[:, i : i + n], np.arange(i, i + n)
        r = embed(part, positions=at, key_positions=np.arange(7))
        given = {"use_causal_mask": True, "relative_embeddings": r}
        (y, scores), caches[0] = first.step(part, caches[0], i, **given)
        (y, _), caches[1] = second.step(
            y, caches[1], i, residual_scores=scores, **given
        )
        np.testing.assert_allclose(
            to_numpy(y), to_numpy(want)[:, i : i + n], atol=1e-5
        )
        i += n


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_trains_and_saves_with_masks_and_scores(policy, tmp_path):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    y, scores = ResidualMultiHeadAttention(HEADS, DIM, dtype=policy)(x)
    second = ResidualMultiHeadAttention(HEADS, DIM, dtype=policy)
    y, _ = second(y, residual_scores=scores)
    y = keras.layers.GlobalAveragePooling1D(dtype="float32")(y)
    net = keras.Model(ids, y)
    net.compile("sgd", "mse", jit_compile=JIT)
    tokens = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
    net.fit(tokens, normal(2, 8), verbose=0)
    got = net.predict(tokens, verbose=0)
    bare = net.predict(tokens[1:, :2], verbose=0)
    close = 1e-5 if policy == "float32" else 1e-2
    np.testing.assert_allclose(got[1:], bare, atol=close)
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(tokens, verbose=0), got)


@pytest.mark.parametrize(
    "scores", [normal(1, HEADS, 7, 7), normal(2, HEADS, 7, 6)]
)
def test_scores_of_another_shape_are_refused(scores):
    with pytest.raises(ValueError, match="Received: residual_scores of shape"):
        made()(normal(2, 7, 8), residual_scores=scores)


def test_a_flag_that_is_no_bool_is_refused():
    with pytest.raises(ValueError, match="Received: accumulate='False'"):
        ResidualMultiHeadAttention(HEADS, DIM, accumulate="False")
