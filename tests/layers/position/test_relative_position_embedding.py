"""Article: https://kexue.fm/archives/8130
《让研究人员绞尽脑汁的Transformer位置编码》
"""

import numpy as np
import pytest

from su_models.layers import (
    RelativeMultiHeadAttention,
    RelativePositionEmbedding,
)
from tests.contract import normal, to_numpy


@pytest.mark.parametrize("sinusoidal", [True, False])
def test_matches_eq_6(sinusoidal):
    layer = RelativePositionEmbedding(7, 4, sinusoidal)  # clipped beyond 3
    got = to_numpy(layer(normal(2, 5, 3), normal(2, 9, 3)))
    p = to_numpy(layer.embeddings)
    assert got.shape == (1, 5, 9, 4)
    for i, j in np.ndindex(5, 9):
        np.testing.assert_allclose(got[0, i, j], p[min(max(j - i, -3), 3) + 3])


def test_sinusoids_are_those_of_nezha():
    layer = RelativePositionEmbedding(129, 64, sinusoidal=True)
    layer.build((2, 7))
    assert not layer.trainable_weights
    table = to_numpy(layer.embeddings)
    row = np.arange(129)[:, None] / 10000 ** (np.arange(0, 64, 2) / 64)
    np.testing.assert_allclose(table[:, 0::2], np.sin(row), atol=2e-5)
    np.testing.assert_allclose(table[:, 1::2], np.cos(row), atol=2e-5)


def test_attention_with_it_sees_relative_positions_only():
    embed, x = RelativePositionEmbedding(9, 4), normal(2, 7, 8)
    attention = RelativeMultiHeadAttention(3, 4)
    for name in ("left", "right"):  # padding, which is masked, moves all
        pads = np.zeros((2, 3, 8), "float32")
        sides = [pads, x] if name == "left" else [x, pads]
        padded = np.concatenate(sides, axis=1)
        real = slice(3, 10) if name == "left" else slice(0, 7)
        mask = np.zeros((2, 10), bool)
        mask[:, real] = True
        got = attention(
            padded, relative_embeddings=embed(padded), attention_mask=mask
        )
        want = attention(x, relative_embeddings=embed(x))
        np.testing.assert_allclose(
            to_numpy(got)[:, real], to_numpy(want), atol=1e-5
        )


def test_cached_decoding_equals_the_causal_pass():
    embed, x = RelativePositionEmbedding(9, 4), normal(2, 7, 8)
    attention = RelativeMultiHeadAttention(3, 4)
    want = to_numpy(
        attention(x, relative_embeddings=embed(x), use_causal_mask=True)
    )
    cache = attention.empty_cache(2, 7)
    for i in range(7):
        token = x[:, i : i + 1]
        r = embed(token, positions=np.array([i]), key_positions=np.arange(7))
        y, cache = attention.step(token, cache, i, relative_embeddings=r)
        np.testing.assert_allclose(to_numpy(y)[:, 0], want[:, i], atol=1e-5)


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ({"input_dim": 8}, "odd.*Received: input_dim=8"),
        ({"input_dim": -1}, "Received: input_dim=-1"),
        ({"output_dim": 0}, "Received: output_dim=0"),
        ({"output_dim": 5, "sinusoidal": True}, "even.*output_dim=5"),
        ({"sinusoidal": "False"}, "Received: sinusoidal='False'"),
    ],
)
def test_bad_arguments_are_refused(init, match):
    with pytest.raises(ValueError, match=match):
        RelativePositionEmbedding(**{"input_dim": 7, "output_dim": 4, **init})
