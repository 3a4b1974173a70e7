"""Article: https://kexue.fm/archives/8130
《让研究人员绞尽脑汁的Transformer位置编码》
"""

import keras
import numpy as np
import pytest

from su_models.layers import (
    MultiHeadAttention,
    RelativeMultiHeadAttention,
    RelativePositionEmbedding,
)
from tests.contract import JIT, normal, to_numpy
from tests.layers.attention.test_multi_head_attention import loop, some_mask

HEADS, DIM = 3, 4


def made(**more):
    layer = RelativeMultiHeadAttention(
        HEADS, DIM, bias_initializer="uniform", **more
    )
    layer.build((None, None, 8))
    return layer


@pytest.mark.parametrize(
    "init",
    [{}, {"normalization": "softmax_plus"}, {"num_key_value_heads": 1}],
    ids=str,
)
def test_matches_eq_4_and_5(init):
    layer, x = made(**init), normal(2, 7, 8)
    r, bias, mask = normal(7, 7, DIM), normal(HEADS, 7, 7), some_mask(7, 7)
    for more, b in (({}, None), ({"attention_bias": bias[None]}, bias)):
        got = layer(x, attention_mask=mask, relative_embeddings=r[None], **more)
        want = loop(layer, x, x, mask, bias=b, relative=r)
        np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


def test_it_is_the_plain_layer_without_embeddings():
    layer, plain = made(), MultiHeadAttention(HEADS, DIM)
    plain.build((None, None, 8))
    plain.set_weights(layer.get_weights())
    x = normal(2, 7, 8)
    np.testing.assert_array_equal(
        to_numpy(layer(x, use_causal_mask=True)),
        to_numpy(plain(x, use_causal_mask=True)),
    )


def test_weights_are_returned_on_request():
    layer, x, r = made(), normal(2, 7, 8), normal(1, 7, 7, DIM)
    out, weights = layer(x, relative_embeddings=r, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(weights).sum(axis=-1), 1, rtol=1e-5)
    want = to_numpy(layer(x, relative_embeddings=r))
    np.testing.assert_allclose(to_numpy(out), want, atol=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 7, [4, 1, 2]], ids=str)
def test_cached_decoding_equals_the_causal_pass(sizes):
    layer, embed = made(), RelativePositionEmbedding(5, DIM)
    x = normal(2, 7, 8)
    want = layer(x, use_causal_mask=True, relative_embeddings=embed(x))
    cache, i = layer.empty_cache(2, 7), 0
    for n in sizes:
        part, at = x[:, i : i + n], np.arange(i, i + n)
        r = embed(part, positions=at, key_positions=np.arange(7))
        y, cache = layer.step(
            part, cache, i, use_causal_mask=True, relative_embeddings=r
        )
        np.testing.assert_allclose(
            to_numpy(y), to_numpy(want)[:, i : i + n], atol=1e-5
        )
        i += n


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_trains_and_saves_with_its_embeddings(policy, tmp_path):
    x = keras.Input((None, 8))
    embed = RelativePositionEmbedding(5, DIM, dtype=policy)
    attention = RelativeMultiHeadAttention(HEADS, DIM, dtype=policy)
    y = attention(x, relative_embeddings=embed(x))
    net = keras.Model(x, keras.layers.Activation("linear", dtype="float32")(y))
    net.compile("sgd", "mse", jit_compile=JIT)
    before = to_numpy(embed.embeddings)
    net.fit(normal(2, 7, 8), 9 * normal(2, 7, 8), verbose=0)
    assert (to_numpy(embed.embeddings) != before).all()
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    for n in (7, 9):
        np.testing.assert_array_equal(
            again.predict(normal(2, n, 8), verbose=0),
            net.predict(normal(2, n, 8), verbose=0),
        )


@pytest.mark.parametrize("shape", [(7, 7, 4), (1, 7, 7, 5), (1, 7, 1, 4)])
def test_embeddings_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="Received: relative_embeddings of"):
        made()(normal(2, 7, 8), relative_embeddings=normal(*shape))
