"""Article: https://kexue.fm/archives/6853
《为节约而生：从标准Attention到稀疏Attention》
"""

import keras
import numpy as np
import pytest

from su_models.layers import AtrousSelfAttention, MultiHeadAttention
from tests.contract import integers, normal, to_numpy
from tests.layers.attention.patterns import pattern

SIZES = [{"rate": 7}, {"rate": 1}, {"rate": 300}]
N = 150  # several blocks, and no multiple of any size


def pair(init, **more):
    """The sparse layer, and the dense one, with the same variables."""
    more = {"num_heads": 3, "head_dim": 4, **more}
    dense = MultiHeadAttention(**more, bias_initializer="uniform")
    layer = AtrousSelfAttention(**more, **init)
    for attention in (dense, layer):
        attention.build((None, None, 6))
    layer.set_weights(dense.get_weights())
    return layer, dense


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"key_dim": 6, "output_dim": 5, "use_bias": False},
        {"rotary_base": 500.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("init", SIZES, ids=str)
def test_equals_the_dense_layer_with_the_pattern_as_its_mask(
    init, causal, more
):
    if not more.get("use_bias", True):
        more = {**more, "kernel_initializer": "he_normal"}
    layer, dense = pair(init, **more)
    x = 2 * normal(2, N, 6)
    got = to_numpy(layer(x, use_causal_mask=causal))
    keep = pattern(N, **init, causal=causal)[None]
    want = to_numpy(dense(x, attention_mask=keep))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_all_masks_are_the_dense_layers():
    layer, dense = pair(SIZES[0])
    x = 2 * normal(2, N, 6)
    keys = np.arange(N) < np.array([[N], [N // 2]])
    pairs = integers(3, 2, N, N) > 0
    keep = pattern(N, **SIZES[0])[None]
    for given in (
        {"attention_mask": keys},
        {"mask": keys},
        {"attention_mask": pairs},
        {"attention_mask": pairs, "mask": keys},
    ):
        both = given.get("attention_mask", keys)
        both = both[:, None] if both.ndim == 2 else both
        both = both & keys[:, None] if "mask" in given else both
        np.testing.assert_allclose(
            to_numpy(layer(x, **given)),
            to_numpy(dense(x, attention_mask=keep & both)),
            atol=1e-5,
        )


def test_the_mask_comes_from_upstream_and_goes_on():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    y = AtrousSelfAttention(3, 4, **SIZES[0])(x)
    net = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(y))
    tokens = 1 + integers(8, 1, 7)
    padded = np.pad(tokens, ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        to_numpy(net(padded)), to_numpy(net(tokens)), atol=1e-6
    )


def test_a_query_without_keys_keeps_the_output_bias():
    layer, _ = pair(SIZES[0])
    nothing = np.zeros((2, 9), bool)
    got = to_numpy(layer(normal(2, 9, 6), attention_mask=nothing))
    bias = to_numpy(layer.weights[-1])
    np.testing.assert_array_equal(got, np.broadcast_to(bias, got.shape))


def test_dropout_is_for_training_only():
    layer, _ = pair(SIZES[0], dropout=0.5, seed=1)
    x = normal(2, 9, 6)
    still = to_numpy(layer(x))
    assert np.abs(to_numpy(layer(x, training=True)) - still).max() > 1e-3
    np.testing.assert_array_equal(to_numpy(layer(x)), still)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"rate": 0}, "`rate` .*Received: rate=0"),
        ({"rate": None}, "`rate` .*Received: rate=None"),
        (
            {"attention_mask": np.ones((2, 6), bool)},
            "Received: attention_mask of",
        ),
        (
            {"attention_mask": np.ones((2, 3, 7, 7), bool)},
            "Received: attention_mask of",
        ),
        ({"value": normal(2, 6, 6)}, "`value` .*Received: value of shape"),
        ({"query": normal(2, 7)}, "`query` .*Received: query of shape"),
        ({"key": normal(2, 7, 6)}, "`key` needs a `value`"),
        ({"positions": np.arange(7)}, "need a `rotary_base`"),
        ({"num_heads": 0}, "Received: num_heads=0"),
    ],
    ids=str,
)
def test_bad_input_is_refused(given, match):
    init = {"num_heads": 3, "head_dim": 4, **SIZES[0]}
    init |= {k: v for k, v in given.items() if k in init}
    call = {k: v for k, v in given.items() if k not in init}
    with pytest.raises(ValueError, match=match):
        AtrousSelfAttention(**init)(**{"query": normal(2, 7, 6), **call})
