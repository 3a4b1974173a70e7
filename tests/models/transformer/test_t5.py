"""Article: https://kexue.fm/archives/7867"""

import functools

import numpy as np
import pytest

from su_models.layers import RelativePositionBias
from tests.contract import to_numpy
from tests.models.transformer.reference import (
    attention,
    causal,
    everything,
    feed_forward,
    gelu,
    norm,
    pre_norm_block,
    weights_of,
)
from tests.models.transformer.tiny import ids, tiny

NORMALIZE = functools.partial(norm, epsilon=1e-6, zero_mean=False)
GATED = {"hidden_act": ["gelu", "linear"]}


def biases(table, bidirectional):
    """Scores by distance, from the layer that has its own test."""
    layer = RelativePositionBias(3, bidirectional=bidirectional)
    layer.build((1, 7))
    layer.set_weights([table])
    bias = to_numpy(layer(np.zeros((1, 7)), np.zeros((1, 7))))[0]
    return lambda h, i, j: bias[h, i, j]


def encode(w, x, gated):
    (table,) = w["Encoder-Embedding-Relative-Position"]
    attend = functools.partial(
        attention,
        may_attend=everything,
        scale=False,
        bias=biases(table, True),
    )
    h = w["Embedding-Token"][0][x]
    for i in range(2):
        name = f"Encoder-Transformer-{i}"
        h = pre_norm_block(h, w, name, attend, NORMALIZE, gelu, gated)
    return NORMALIZE(h, w["Encoder-Output-Norm"])


def decode(w, memory, y, gated, crossed):
    (table,) = w["Decoder-Embedding-Relative-Position"]
    bias = biases(table, False)
    h = w["Embedding-Token"][0][y]
    for i in range(2):
        name = f"Decoder-Transformer-{i}-MultiHeadSelfAttention"
        x = NORMALIZE(h, w[f"{name}-Norm"])
        h = h + attention(x, w[name], causal, scale=False, bias=bias)
        name = f"Decoder-Transformer-{i}-MultiHeadCrossAttention"
        x = NORMALIZE(h, w[f"{name}-Norm"])
        h = h + attention(
            x,
            w[name],
            everything,
            memory,
            scale=False,
            bias=bias if crossed else None,
        )
        name = f"Decoder-Transformer-{i}-FeedForward"
        x = NORMALIZE(h, w[f"{name}-Norm"])
        h = h + feed_forward(x, w[name], gelu, gated)
    return NORMALIZE(h, w["Decoder-Output-Norm"])


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("name", ["t5.1.0", "t5.1.1"])
def test_encoder_and_decoder(name, scaled, crossed):
    gated = name == "t5.1.1"
    model = tiny(
        name,
        with_lm="linear",
        cross_position_bias=crossed,
        output_scale=scaled,
        **(GATED if gated else {}),
    )
    w = weights_of(model)
    x, y = ids(), ids(length=5)
    h = decode(w, encode(w, x, gated), y, gated, crossed)
    h = h * 12**-0.5 if scaled else h
    out = w["Decoder-Output-LM"][0] if gated else w["Embedding-Token"][0].T
    np.testing.assert_allclose(to_numpy(model([x, y])), h @ out, atol=5e-5)


def test_padding_of_the_encoder_comes_out_as_zeros():
    encoder = tiny("t5_encoder")
    x = ids()
    x[:, 4:] = 0
    h = to_numpy(encoder(x))
    assert not h[:, 4:].any() and h[:, :4].any(axis=-1).all()
