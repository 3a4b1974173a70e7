"""What the attention layers share: sizes, variables, masks, refusals."""

import keras
import numpy as np
import pytest

from su_models.layers import (
    AtrousSelfAttention,
    LocalSelfAttention,
    SparseSelfAttention,
)
from su_models.layers.attention.base import (
    BaseMultiHeadAttention,
    BaseSelfAttention,
)
from tests.contract import integers, normal, to_numpy
from tests.layers.attention.patterns import beside_dense, pattern

N = 150  # several blocks, and no multiple of any size
LAYERS = {
    LocalSelfAttention: {"window": 5},
    AtrousSelfAttention: {"rate": 7},
    SparseSelfAttention: {"rate": 7, "window": 5},
}
each_layer = pytest.mark.parametrize(
    ("layer_class", "init"),
    LAYERS.items(),
    ids=lambda x: getattr(x, "__name__", ""),
)


# ---- variables and sizes


def built(*shapes, **more):
    layer = BaseMultiHeadAttention(3, 4, **more)
    layer.build(*(shapes or [(2, 7, 5)]))
    return layer


@pytest.mark.parametrize("use_bias", [True, False])
def test_variables_are_those_of_keras(use_bias):
    ours = built(key_dim=6, output_dim=8, use_bias=use_bias)
    peer = keras.layers.MultiHeadAttention(
        3, 6, value_dim=4, output_shape=8, use_bias=use_bias
    )
    peer.build((2, 7, 5), (2, 7, 5))
    assert [w.shape for w in ours.weights] == [w.shape for w in peer.weights]
    ours.set_weights(peer.get_weights())
    x = normal(2, 7, 5)
    peers = peer.query_dense(x), peer.key_dense(x), peer.value_dense(x)
    for a, b in zip(ours._project(x, None), peers, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)
    v = peers[-1]
    np.testing.assert_allclose(
        to_numpy(ours._merge(v)), to_numpy(peer.output_dense(v)), atol=1e-6
    )


def test_variables_of_grouped_queries_are_those_of_keras():
    ours = BaseMultiHeadAttention(6, 4, num_key_value_heads=2)
    peer = keras.layers.GroupQueryAttention(4, 6, 2)
    for layer in (ours, peer):
        layer.build((2, 7, 5), (2, 7, 5))
    assert [w.shape for w in ours.weights] == [w.shape for w in peer.weights]


def test_cross_attention_has_three_sizes_of_features():
    layer = built((2, 7, 5), (2, 9, 3), (2, 9, 2))
    shapes = [w.shape[0] for w in layer.weights[::2]]
    assert shapes == [5, 2, 3, 3]  # q, k, v, and the heads of o
    assert layer.weights[-1].shape == (5,)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 4), "`num_heads` .*Received: num_heads=0"),
        ((3, 4.5), "`head_dim` .*Received: head_dim=4.5"),
        ((3, True), "`head_dim` .*Received: head_dim=True"),
        ((3, 4, -1), "`key_dim` .*Received: key_dim=-1"),
        ((3, 4, None, "8"), "`output_dim` .*Received: output_dim='8'"),
        ((3, 4, None, None, "False"), "bool.*Received: use_bias='False'"),
        ((3, 4, 5, None, True, 1e4), "even .*Received: key_dim=5"),
        ((3, 5, None, None, True, 1e4), "even .*Received: key_dim=5"),
        ((3, 4, 6, None, True, 0), "> 0. Received: rotary_base=0"),
        ((3, 4, 6, None, True, None, 1.0), "Received: dropout=1.0"),
        ((3, 4, 6, None, True, None, "a"), "Received: dropout='a'"),
        (
            (3, 4, 6, None, True, None, 0.0, "zeros", "zeros", 2**40),
            "Received: seed=1099511627776",
        ),
        (
            (3, 4, 6, None, True, None, 0.0, "zeros", "zeros", None, 2),
            "must divide .*Received: num_key_value_heads=2",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        BaseMultiHeadAttention(*arguments)


@pytest.mark.parametrize("shape", [(2, 5), (2, 7, 3, 5), (2, 7, None)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="`query` .*Received: query of shape"):
        built(shape)


# ---- the call form, and the masks of the sparse layers


class Recorded(BaseSelfAttention):
    """Looks at nothing else, and notes what it was given."""

    def _sparse(self, q, k, v, **masks):
        self.shapes = [tuple(x.shape) for x in (q, k, v)]
        self.masks = masks
        return v


def test_queries_keys_and_values_are_projected_before_anything_else():
    layer = Recorded(3, 4, key_dim=6)
    assert tuple(layer(normal(2, 7, 5)).shape) == (2, 7, 5)
    assert layer.shapes == [(2, 7, 3, 6), (2, 7, 3, 6), (2, 7, 3, 4)]


def test_a_key_mask_stays_one():
    layer, x = Recorded(3, 4), normal(2, 7, 5)
    keys = np.arange(7) < np.array([[7], [3]])
    layer(x, mask=keys, use_causal_mask=True)
    np.testing.assert_array_equal(to_numpy(layer.masks["key_mask"]), keys)
    assert layer.masks["pair_mask"] is None and layer.masks["causal"]
    layer(x, x, value_mask=keys, attention_mask=keys[:, None] & keys[..., None])
    np.testing.assert_array_equal(to_numpy(layer.masks["key_mask"]), keys)
    assert tuple(layer.masks["pair_mask"].shape) == (2, 7, 7)


def test_values_of_other_tokens_are_projected_by_their_own_kernels():
    layer, x, y = Recorded(3, 4), normal(2, 7, 5), normal(2, 7, 2)
    got = to_numpy(layer(x, y))
    assert [w.shape[0] for w in layer.weights[:6:2]] == [5, 2, 2]
    want = to_numpy(layer.output_dense(layer.value_dense(y)))
    np.testing.assert_allclose(got, want, atol=1e-6)


@each_layer
def test_all_masks_are_the_dense_layers(layer_class, init):
    layer, dense = beside_dense(layer_class, init)
    x = 2 * normal(2, N, 6)
    keys = np.arange(N) < np.array([[N], [N // 2]])
    pairs = integers(3, 2, N, N) > 0
    keep = pattern(N, **init)[None]
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


@each_layer
def test_the_mask_comes_from_upstream_and_goes_on(layer_class, init):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    y = layer_class(3, 4, **init)(x)
    net = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(y))
    tokens = 1 + integers(8, 1, 7)
    padded = np.pad(tokens, ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        to_numpy(net(padded)), to_numpy(net(tokens)), atol=1e-6
    )


@each_layer
def test_a_query_without_keys_keeps_the_output_bias(layer_class, init):
    layer, _ = beside_dense(layer_class, init)
    nothing = np.zeros((2, 9), bool)
    got = to_numpy(layer(normal(2, 9, 6), attention_mask=nothing))
    bias = to_numpy(layer.weights[-1])
    np.testing.assert_array_equal(got, np.broadcast_to(bias, got.shape))


@each_layer
def test_dropout_is_for_training_only(layer_class, init):
    layer, _ = beside_dense(layer_class, init, dropout=0.5, seed=1)
    x = normal(2, 9, 6)
    still = to_numpy(layer(x))
    assert np.abs(to_numpy(layer(x, training=True)) - still).max() > 1e-3
    np.testing.assert_array_equal(to_numpy(layer(x)), still)


@each_layer
@pytest.mark.parametrize(
    ("given", "match"),
    [
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
        ({"num_key_value_heads": 2}, "must divide `num_heads`"),
        (
            {"value": normal(2, 7, 6), "mask": np.ones((2, 7), bool)},
            "as `attention_mask`",
        ),
    ],
    ids=str,
)
def test_bad_input_of_sparse_layers_is_refused(layer_class, init, given, match):
    of_class = "num_heads", "num_key_value_heads"
    init = {"num_heads": 3, "head_dim": 4, **init}
    init |= {k: v for k, v in given.items() if k in of_class}
    call = {k: v for k, v in given.items() if k not in of_class}
    with pytest.raises(ValueError, match=match):
        layer_class(**init)(**{"query": normal(2, 7, 6), **call})


@each_layer
def test_grouped_queries_are_those_of_the_dense_layer(layer_class, init):
    layer, dense = beside_dense(
        layer_class, init, num_heads=6, num_key_value_heads=2
    )
    x = 2 * normal(2, N, 6)
    want = dense(x, attention_mask=pattern(N, **init)[None])
    np.testing.assert_allclose(to_numpy(layer(x)), to_numpy(want), atol=1e-5)


@each_layer
def test_sparse_layers_say_what_decodes_for_them(layer_class, init):
    layer, _ = beside_dense(layer_class, init)
    with pytest.raises(NotImplementedError, match="MultiHeadAttention"):
        layer.step(normal(2, 1, 6), layer.empty_cache(2, 7), 0)
