"""Article: https://kexue.fm/archives/8130
《让研究人员绞尽脑汁的Transformer位置编码》
"""

import math

import keras
import numpy as np
import pytest

from su_models.layers import (
    MultiHeadAttention,
    RelativePositionBias,
    ResidualMultiHeadAttention,
)
from tests.contract import JIT, normal, to_numpy

# the article's table: distances 0 to 30, 32 buckets for two directions
BUCKETS = [*range(8), *[8] * 4, *[9] * 4, *[10] * 7, *[11] * 8]


def bucket(distance, size, top):
    """The bucket of one distance in one direction."""
    near = size // 2
    if distance < near:
        return distance
    share = math.log(distance / near) / math.log(top / near)
    return min(near + int(share * (size - near) + 1e-6), size - 1)


def buckets(n, m, **more):
    """The buckets as the layer has them: a table that holds its own index."""
    layer = RelativePositionBias(1, **more)
    layer.build((1, n))
    rows = np.arange(layer.num_buckets, dtype="float32")[:, None]
    layer.embeddings.assign(rows)
    return to_numpy(layer(np.zeros((1, n)), np.zeros((1, m))))[0, 0]


def test_buckets_are_those_of_the_article():
    got = buckets(31, 31)
    np.testing.assert_array_equal(got[:, 0], BUCKETS)  # keys on the left
    right = [0, *(16 + np.array(BUCKETS[1:]))]
    np.testing.assert_array_equal(got[0], right)


@pytest.mark.parametrize(("size", "top"), [(32, 128), (12, 20), (4, 7)])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_matches_its_formula(size, top, bidirectional):
    got = buckets(
        40, 150, num_buckets=size, max_distance=top, bidirectional=bidirectional
    )
    side = size // 2 if bidirectional else size
    for i, j in np.ndindex(got.shape):
        if j <= i:
            want = bucket(i - j, side, top)
        else:
            want = side + bucket(j - i, side, top) if bidirectional else 0
        assert got[i, j] == want, (i, j)


def test_each_head_has_its_bias():  # Eq. (10)
    layer, attention = RelativePositionBias(3), ResidualMultiHeadAttention(3, 4)
    x = normal(2, 7, 8)
    bias = layer(x)
    _, plain = attention(x)
    _, biased = attention(x, attention_bias=bias)
    np.testing.assert_allclose(
        to_numpy(biased) - to_numpy(plain),
        np.broadcast_to(to_numpy(bias), plain.shape),
        atol=1e-5,
    )
    first = to_numpy(layer.embeddings)[0]
    np.testing.assert_allclose(to_numpy(bias)[0, :, 3, 3], first)


def test_cached_decoding_equals_the_causal_pass():
    layer, attention = RelativePositionBias(3), MultiHeadAttention(3, 4)
    x = normal(2, 7, 8)
    want = to_numpy(attention(x, attention_bias=layer(x), use_causal_mask=True))
    cache = attention.empty_cache(2, 7)
    for i in range(7):
        token = x[:, i : i + 1]
        bias = layer(
            token, positions=np.array([[i], [i]]), key_positions=np.arange(7)
        )
        y, cache = attention.step(token, cache, i, attention_bias=bias)
        np.testing.assert_allclose(to_numpy(y)[:, 0], want[:, i], atol=1e-5)


def test_generated_slots_after_padding_keep_their_distances():
    """A prompt of 2 tokens in 4 slots: token 2 is written into slot 4."""
    layer, attention = RelativePositionBias(3), MultiHeadAttention(3, 4)
    x = normal(2, 4, 8)
    want = to_numpy(attention(x, attention_bias=layer(x), use_causal_mask=True))
    padded = np.concatenate([x[:, :2], 9 * x[:, :2]], axis=1)
    _, cache = attention.step(padded, attention.empty_cache(2, 6), 0)
    at = np.array([0, 1, 9, 9, 2, 3])  # the positions of the slots
    for i in (2, 3):
        bias = layer(x[:, i : i + 1], positions=np.array([i]), key_positions=at)
        y, cache = attention.step(
            x[:, i : i + 1],
            cache,
            i + 2,
            attention_mask=np.tile(at < 9, (2, 1)),
            attention_bias=bias,
        )
        np.testing.assert_allclose(to_numpy(y)[:, 0], want[:, i], atol=1e-5)


def test_bucket_used_often_is_trained_as_any_other():
    layer = RelativePositionBias(1, embeddings_initializer="zeros")
    ids = keras.Input((2,), dtype="int32")
    net = keras.Model(ids, layer(ids))
    net.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=JIT)
    net.fit(np.zeros((1, 2)), np.ones((1, 1, 2, 2)), verbose=0)
    moved = to_numpy(layer.embeddings)[:, 0]  # distance 0 occurs twice
    want = np.zeros(32)
    want[[0, 1, 17]] = 0.1  # Adam's first step
    np.testing.assert_allclose(moved, want, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ({"num_heads": 0}, "Received: num_heads=0"),
        ({"num_buckets": 2}, "Received: num_buckets=2"),
        ({"num_buckets": 9}, "Received: num_buckets=9"),
        ({"num_buckets": 1, "bidirectional": False}, "num_buckets=1"),
        ({"max_distance": 8}, "Received: max_distance=8"),
        ({"max_distance": 1.5}, "Received: max_distance=1.5"),
        ({"bidirectional": "False"}, "Received: bidirectional='False'"),
    ],
)
def test_bad_arguments_are_refused(init, match):
    with pytest.raises(ValueError, match=match):
        RelativePositionBias(**{"num_heads": 3, **init})
