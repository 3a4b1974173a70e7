"""Article: https://kexue.fm/archives/4765
    《Attention is All You Need》浅读（简介+代码）
Article: https://kexue.fm/archives/6933
    《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
Article: https://kexue.fm/archives/8823
    《从熵不变性看Attention的Scale操作》
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import gradient
from su_models.backend.compile import compiled
from su_models.layers import MultiHeadAttention
from su_models.ops import prefix_mask
from tests.contract import JIT, integers, normal, to_numpy
from tests.contract.base import global_policy

HEADS, DIM = 3, 4


def made(shape=(None, None, 8), **more):
    """A layer with biases that are not zero."""
    layer = MultiHeadAttention(
        HEADS, DIM, **{"bias_initializer": "uniform", **more}
    )
    layer.build(shape)
    return layer


def rotate(x, positions, base):
    z = x[..., 0::2] + 1j * x[..., 1::2]  # (b, n, h, d/2)
    theta = base ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
    z = z * np.exp(1j * positions[:, :, None, None] * theta)
    return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)


def loop(layer, x, y, mask, positions=None, bias=None, relative=None):
    """Eq. (4) to (6) of the article: each head, query and sample alone.

    With `relative` Eq. (4) and (5) of article 8130.
    """
    shared = layer.num_heads // (layer.num_key_value_heads or layer.num_heads)
    names = "query_dense", "key_dense", "value_dense", "output_dense"
    w = []
    for dense in (getattr(layer, name) for name in names):
        offset = to_numpy(dense.bias) if layer.use_bias else 0.0
        w.append((to_numpy(dense.kernel).astype("float64"), offset))
    q = np.einsum("bnd,dhk->bnhk", x, w[0][0]) + w[0][1]
    k = np.einsum("bmd,dhk->bmhk", y, w[1][0]) + w[1][1]
    v = np.einsum("bmd,dhk->bmhk", y, w[2][0]) + w[2][1]
    if layer.rotary_base:
        q, k = (rotate(t, positions, layer.rotary_base) for t in (q, k))
    out = np.zeros((*x.shape[:2], w[3][0].shape[-1])) + w[3][1]
    for b, i, h in np.ndindex(len(x), x.shape[1], layer.num_heads):
        keys = np.flatnonzero(mask[b, i])
        if not len(keys):
            continue
        shift = np.zeros((y.shape[1], 1)) if relative is None else relative[i]
        a = (k[b, :, h // shared] + shift)[keys] @ q[b, i, h]
        if layer.attention_scale:
            a = a / q.shape[-1] ** 0.5
        if bias is not None:
            a = a + bias[h, i, keys]
        if layer.normalization == "squared_relu":
            a = np.maximum(a, 0) ** 2 / len(keys)
        else:
            if layer.normalization == "softmax_plus":
                a = a * np.log(max(len(keys), 16)) / np.log(512)
            a = np.exp(a) / np.exp(a).sum()
        out[b, i] += a @ (v[b, :, h // shared] + shift)[keys] @ w[3][0][h]
    return out


def some_mask(n, m):
    mask = integers(3, 2, n, m) > 0
    mask[0, 2] = False  # nothing to attend to
    return mask


@pytest.mark.parametrize(
    "init",
    [
        {},
        {"use_bias": False, "output_dim": 5},
        {"key_dim": 6, "rotary_base": 500.0},
        {"attention_scale": False},
        {"normalization": "softmax_plus"},
        {"normalization": "squared_relu", "rotary_base": 500.0},
        {"num_key_value_heads": 1, "rotary_base": 500.0},
        {"num_key_value_heads": 1, "normalization": "softmax_plus"},
        {"num_key_value_heads": 3},
    ],
    ids=str,
)
def test_matches_eq_4_to_6(init):
    layer, x = made(**init), normal(2, 7, 8)
    mask = some_mask(7, 7)
    positions = np.tile(np.arange(7), (2, 1))
    np.testing.assert_allclose(
        to_numpy(layer(x, attention_mask=mask)),
        loop(layer, x, x, mask, positions),
        atol=1e-5,
    )


def test_cross_attention_matches_eq_4_to_6():
    layer = made([2, 7, 8])
    x, y, mask = normal(2, 7, 8), normal(2, 5, 8) + 1, some_mask(7, 5)
    got = to_numpy(layer(x, y, attention_mask=mask))
    np.testing.assert_allclose(got, loop(layer, x, y, mask), atol=1e-5)


def test_a_bias_is_added_to_the_scores():  # Eq. (10) of article 8130
    layer, x = made(), normal(2, 7, 8)
    bias, mask = normal(HEADS, 7, 7), some_mask(7, 7)
    got = layer(x, attention_mask=mask, attention_bias=bias[None])
    want = loop(layer, x, x, mask, bias=bias)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


def test_several_groups_of_queries_match_eq_4_to_6():
    layer = MultiHeadAttention(6, 4, num_key_value_heads=2, rotary_base=9.0)
    layer.build((2, 7, 8))
    x, mask = normal(2, 7, 8), some_mask(7, 7)
    want = loop(layer, x, x, mask, np.tile(np.arange(7), (2, 1)))
    ways = [{}, {"attention_bias": np.zeros((1, 1, 7, 7), "float32")}]
    for more in ways:  # by the fused kernel, and with all pairs in memory
        got = layer(x, attention_mask=mask, **more)
        np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


# ---- positions


def test_rotary_attention_sees_relative_positions_only():
    layer, x = made(rotary_base=10000.0), normal(2, 7, 8)
    first = to_numpy(layer(x, use_causal_mask=True))
    for shift in (np.arange(7) + 1000, np.arange(7) + np.array([[3], [500]])):
        moved = to_numpy(layer(x, positions=shift, use_causal_mask=True))
        np.testing.assert_allclose(moved, first, atol=1e-4)
    bare = made()
    bare.set_weights(layer.get_weights())
    assert np.abs(to_numpy(bare(x, use_causal_mask=True)) - first).max() > 1e-3


def test_positions_of_cross_attention_are_those_of_the_queries():
    layer, x = made(rotary_base=500.0), normal(2, 7, 8)
    want = to_numpy(layer(x))
    for part in (slice(4, 6), slice(0, 7)):
        got = layer(x[:, part], x, positions=np.arange(7)[part])
        np.testing.assert_allclose(to_numpy(got), want[:, part], atol=1e-5)
    shifted = to_numpy(layer(x, x, positions=np.arange(7) + 2))
    assert np.abs(shifted - want).max() > 1e-3


# ---- masks


def test_causal_attention_sees_no_future():
    layer, x = made(), normal(2, 7, 8)
    mask = np.broadcast_to(np.tri(7, dtype=bool), (2, 7, 7))
    want = loop(layer, x, x, mask)
    got = to_numpy(layer(x, use_causal_mask=True))
    np.testing.assert_allclose(got, want, atol=1e-5)
    got, _ = layer(x, use_causal_mask=True, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_causal_and_padding_masks_join(side):
    layer, x = made(), normal(2, 7, 8)
    keys = np.arange(7) < np.array([[7], [4]])
    if side == "left":  # the first tokens then have nothing to attend to
        keys = keys[:, ::-1]
    mask = np.tri(7, dtype=bool) & keys[:, None]
    got = layer(x, attention_mask=keys, use_causal_mask=True)
    want = loop(layer, x, x, mask)
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-5)


@pytest.mark.parametrize("normalization", ["softmax", "squared_relu"])
def test_prefix_is_seen_whole_and_what_follows_causally(normalization):
    layer, x = made(normalization=normalization), normal(2, 7, 8)
    ids = np.array([[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]])
    keys = np.arange(7) < np.array([[6], [7]])  # one padded, one plain
    mask = prefix_mask(ids)
    got = to_numpy(layer(x, attention_mask=mask, mask=keys))
    plain = to_numpy(layer(x[1:]))
    np.testing.assert_allclose(got[1:], plain, atol=1e-5)
    prefix = to_numpy(layer(x[:1, :3]))  # never sees what follows
    np.testing.assert_allclose(got[:1, :3], prefix, atol=1e-5)
    for n in (4, 5, 6):  # nor does any target see a later one
        last = to_numpy(layer(x[:1, :n]))[:, -1]
        np.testing.assert_allclose(got[:1, n - 1], last, atol=1e-5)


def test_every_way_to_give_a_key_mask_is_the_same():
    layer, x = made(), normal(2, 7, 8)
    mask = np.arange(7) < np.array([[7], [4]])
    want = to_numpy(layer(x, attention_mask=mask))
    assert (to_numpy(layer(x)) != want).any()
    ways = [
        layer(x, mask=mask),
        layer(x, attention_mask=mask[:, None]),
        layer(x, attention_mask=np.repeat(mask[:, None], 7, axis=1)),
        layer(x, x, value_mask=mask),
        layer(x, x, x, key_mask=mask),
        layer(keras.layers.Masking()(np.where(mask[..., None], x, 0))),
    ]
    for got in ways:  # the last has other queries at its padding
        np.testing.assert_allclose(to_numpy(got)[mask], want[mask], atol=1e-5)


def test_padding_of_queries_does_not_mask_other_keys():
    layer, x, y = made(), normal(2, 4, 8), normal(2, 7, 8)
    mask = np.arange(4) < np.array([[4], [2]])
    out = layer(x, y, query_mask=mask)
    np.testing.assert_allclose(to_numpy(out), to_numpy(layer(x, y)), atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize(
    "init",
    [{}, {"normalization": "squared_relu"}, {"key_dim": 6}],
    ids=str,
)
def test_query_with_nothing_to_attend_to_has_context_0(init, policy):
    layer, x = made(**init, dtype=policy), normal(2, 7, 8)
    mask = np.arange(7) < np.array([[5], [0]])
    out = to_numpy(layer(x, attention_mask=mask))
    assert np.isfinite(out).all()
    bias = to_numpy(ops.cast(layer.output_dense.bias, layer.compute_dtype))
    np.testing.assert_allclose(out[1], np.tile(bias, (7, 1)), rtol=1e-6)

    def loss(x):
        out = layer(x, attention_mask=ops.convert_to_tensor(mask))
        return ops.sum(ops.square(ops.cast(out, "float32")))

    slope = to_numpy(gradient(loss, x))
    assert np.isfinite(slope).all()
    assert slope[0].any() and not slope[1].any()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_is_near_to_float32(policy):
    layer, x = made(rotary_base=1e4), 30 * normal(2, 7, 8)
    low = made(rotary_base=1e4, dtype=policy)
    low.set_weights(layer.get_weights())
    want, got = (
        to_numpy(t(x, use_causal_mask=True, attention_mask=some_mask(7, 7)))
        for t in (layer, low)
    )
    np.testing.assert_allclose(got, want, atol=0.06 * np.abs(want).max())


# ---- what is returned


def test_scores_are_returned_on_request():
    layer, x = made(), normal(2, 7, 8)
    mask = np.arange(7) < np.array([[7], [4]])
    out, weights = layer(x, attention_mask=mask, return_attention_scores=True)
    weights, v = to_numpy(weights), to_numpy(layer.value_dense(x))
    assert weights.shape == (2, HEADS, 7, 7)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert not weights[1, :, :, 4:].any()
    context = np.einsum("bhnm,bmhd->bnhd", weights, v)
    np.testing.assert_allclose(
        to_numpy(layer.output_dense(context)), to_numpy(out), atol=1e-5
    )
    plain = to_numpy(layer(x, attention_mask=mask))
    np.testing.assert_allclose(plain, to_numpy(out), atol=1e-5)


def test_dropout_zeroes_weights_in_training_alone():
    layer, x = made(dropout=0.5, seed=1), normal(2, 7, 8)
    _, weights = layer(x, training=True, return_attention_scores=True)
    assert (to_numpy(weights) > 0).all()  # those before the dropout
    np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(layer(x)))
    drawn = [to_numpy(layer(x, training=True)) for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()


# ---- the cache of keys and values


def decoded(layer, x, sizes, **more):
    """Decodes `x` in pieces of the given sizes; returns all outputs."""
    outputs, i, cache = [], 0, layer.empty_cache(len(x), 9)
    for n in sizes:
        y, cache = layer.step(
            x[:, i : i + n], cache, i, use_causal_mask=True, **more
        )
        outputs.append(to_numpy(y))
        i += n
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("sizes", [[1] * 7, [4, 1, 2]], ids=str)
@pytest.mark.parametrize(
    "init",
    [
        {"rotary_base": 500.0},
        {"key_dim": 6},
        {"normalization": "softmax_plus"},
        {"normalization": "squared_relu"},
        {"num_key_value_heads": 1, "rotary_base": 500.0},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_cached_decoding_equals_the_causal_pass(init, sizes):
    layer, x = made(**init), normal(2, 7, 8)
    want = to_numpy(layer(x, use_causal_mask=True))
    np.testing.assert_allclose(decoded(layer, x, sizes), want, atol=1e-5)


def test_a_cache_has_the_slots_of_a_head_side_by_side():
    layer = MultiHeadAttention(6, 4, key_dim=2, num_key_value_heads=3)
    cache = layer.empty_cache(2, 7)
    assert [tuple(t.shape) for t in cache] == [(2, 3, 7, 2), (2, 3, 7, 4)]
    x = normal(2, 5, 8)
    _, (k, v) = layer.step(x, cache, 1)
    for slots, dense in ((k, layer.key_dense), (v, layer.value_dense)):
        want = to_numpy(dense(x)).transpose(0, 2, 1, 3)
        slots = to_numpy(slots)
        np.testing.assert_allclose(slots[:, :, 1:6], want, atol=1e-6)
        assert not slots[:, :, 0].any() and not slots[:, :, 6].any()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_each_sample_may_have_its_own_place_in_the_cache(dtype):
    layer, x = made(rotary_base=500.0), normal(2, 7, 8)
    want = to_numpy(layer(x, use_causal_mask=True))
    lengths = np.array([2, 4], dtype)
    _, cache = layer.step(x[:, :4], layer.empty_cache(2, 7), 0)
    for step in range(3):
        at = lengths + np.array(step, dtype)
        token = np.take_along_axis(x, at.astype(int)[:, None, None], axis=1)
        y, cache = layer.step(token, cache, at)
        np.testing.assert_allclose(
            to_numpy(y)[:, 0], want[[0, 1], at], atol=1e-5
        )


def test_a_prompt_is_seen_whole_unless_it_is_causal():
    layer, x = made(), normal(2, 5, 8)
    for causal in (False, True):
        got, _ = layer.step(
            x, layer.empty_cache(2, 7), 0, use_causal_mask=causal
        )
        want = layer(x, use_causal_mask=causal)
        np.testing.assert_allclose(to_numpy(got), to_numpy(want), atol=1e-5)


def test_one_program_decodes_every_position():
    layer, x = made(rotary_base=500.0), normal(2, 7, 8)
    want = to_numpy(layer(x, use_causal_mask=True))
    step, cache = compiled(layer.step), layer.empty_cache(2, 7)
    for i in range(7):
        y, cache = step(x[:, i : i + 1], cache, i)
        np.testing.assert_allclose(to_numpy(y)[:, 0], want[:, i], atol=1e-5)


@pytest.mark.skipif(not JIT, reason="PyTorch knows every index: an error")
def test_tokens_beyond_the_cache_are_nan_when_compiled():
    layer, cache = made(rotary_base=500.0), normal(2, 2, HEADS, 7, DIM)
    step = compiled(layer.step)
    for index in (7, -1, np.array([7, 8], "int32")):
        y, _ = step(normal(2, 1, 8), tuple(cache), index)
        assert np.isnan(to_numpy(y)).all()
    y, _ = step(normal(2, 1, 8), tuple(cache), np.array([6, 7], "int32"))
    assert np.isfinite(to_numpy(y)[0]).all() and np.isnan(to_numpy(y)[1]).all()


@pytest.mark.skipif(
    keras.config.backend() != "jax",
    reason="only JAX compiles for a platform that is not here",
)
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_step_of_decoding_compiles_for(platform):
    layer = made(rotary_base=500.0)
    cache = (np.zeros((2, HEADS, 7, DIM), "float32"),) * 2
    exported = compiled(layer.step).export(
        normal(2, 1, 8), cache, 3, platforms=[platform]
    )
    assert exported.platforms == (platform,)
    text = exported.mlir_module()
    assert "dynamic_update_slice" in text and "dot_general" in text


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="JAX shows the compiled program"
)
def test_a_step_does_not_copy_the_cache_into_another_layout():
    import jax

    layer = made((2, None, 8))

    def step(token, cache, index):
        return layer.step(token, cache, index)

    cache = (np.zeros((2, HEADS, 64, DIM), "float32"),) * 2
    text = jax.jit(step).lower(normal(2, 1, 8), cache, 3).compile().as_text()
    whole = f"f32[2,64,{HEADS},{DIM}]", f"f32[2,{HEADS},{DIM},64]"
    assert f"f32[2,{HEADS},64,{DIM}]" in text
    assert not any(layout in text for layout in whole), text


def test_masks_of_a_cache_are_of_its_slots():
    """Prompts of unequal length, padded on the left."""
    layer, x = made(rotary_base=500.0), normal(2, 6, 8)
    pads = np.array([0, 2])
    slots = np.arange(6) >= pads[:, None]
    cache, positions = layer.empty_cache(2, 6), np.arange(6) - pads[:, None]
    for part in (slice(0, 4), slice(4, 5), slice(5, 6)):
        y, cache = layer.step(
            x[:, part],
            cache,
            part.start,
            positions=positions[:, part],
            attention_mask=slots,
            use_causal_mask=True,
        )
    want = to_numpy(layer(x[1:, 2:], use_causal_mask=True))
    np.testing.assert_allclose(to_numpy(y)[1:, -1], want[:, -1], atol=1e-5)


def test_cache_of_cross_attention_is_read_as_it_is():
    layer = MultiHeadAttention(HEADS, DIM, key_dim=6, rotary_base=9.0)
    x, y = normal(2, 7, 8), normal(2, 5, 3)
    mask = np.arange(5) < np.array([[5], [3]])
    want = to_numpy(layer(x, y, attention_mask=mask))
    cache = layer.compute_cache(y)
    got, again = layer.step(
        x[:, 2:4], cache, attention_mask=mask, positions=np.array([2, 3])
    )
    np.testing.assert_allclose(to_numpy(got), want[:, 2:4], atol=1e-6)
    assert again[0] is cache[0] and again[1] is cache[1]
    assert [tuple(t.shape) for t in again] == [(2, 3, 5, 6), (2, 3, 5, 4)]


def test_a_layer_that_is_not_built_has_no_keys():
    with pytest.raises(ValueError, match="built.*Received: built=False"):
        MultiHeadAttention(HEADS, DIM).compute_cache(normal(2, 5, 8))


def test_beams_share_the_keys_of_their_prompt():
    """Beams as queries of one sample: their own slots beside the prompt's."""
    layer, beams = made(), 4
    prompt, tokens = normal(2, 5, 8), 1 + normal(2, beams, 8)
    k, v = layer.compute_cache(prompt)
    own_k, own_v = layer.compute_cache(tokens)
    cache = ops.concatenate([k, own_k], 2), ops.concatenate([v, own_v], 2)
    mask = np.concatenate(
        [np.ones((beams, 5), bool), np.eye(beams, dtype=bool)], axis=1
    )
    got, _ = layer.step(tokens, cache, attention_mask=mask[None])
    for b, i in np.ndindex(2, beams):
        whole = np.concatenate([prompt[b], tokens[b, i : i + 1]])
        want = to_numpy(layer(whole[None]))[0, -1]
        np.testing.assert_allclose(to_numpy(got)[b, i], want, atol=1e-5)


def test_a_step_has_the_dtype_of_the_layer():
    layer, x = made(dtype="mixed_float16"), normal(2, 4, 8)
    cache = layer.empty_cache(2, 4)
    assert {keras.backend.standardize_dtype(t.dtype) for t in cache} == {
        "float16"
    }
    y, cache = layer.step(
        x, cache, 0, attention_bias=normal(1, 1, 4, 4), use_causal_mask=True
    )
    for t in (y, *cache):
        assert keras.backend.standardize_dtype(t.dtype) == "float16"


# ---- Keras


def test_trains_with_masks_and_positions_as_inputs(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    segments = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    x = MultiHeadAttention(HEADS, DIM, rotary_base=1e4, name="attention")(
        x, attention_mask=prefix_mask(segments)
    )
    x = keras.layers.Dense(9)(x)
    net = keras.Model([ids, segments], x)
    net.compile("adam", "mse", jit_compile=JIT)
    data = [integers(9, 4, 6), np.tile([0, 0, 0, 1, 1, 1], (4, 1))]
    before = net.get_weights()
    net.fit(data, normal(4, 6, 9), verbose=0)
    pairs = zip(before, net.get_weights(), strict=True)
    moved = [(a != b).any() for a, b in pairs]
    # of the biases that of the keys shifts all scores alike
    assert sum(moved) >= len(moved) - 1
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(
        again.predict(data, verbose=0), net.predict(data, verbose=0), atol=1e-6
    )


def test_mask_of_the_queries_passes_on():
    ids = keras.layers.Embedding(9, 8, mask_zero=True)
    mean = keras.layers.GlobalAveragePooling1D()
    net = keras.Sequential([ids, made(), mean])
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([3, 4, 0], [3, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-5)


# ---- refusals


X = normal(2, 7, 8)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"query": X[0]}, "`query` .*Received: query of shape"),
        ({"query": X[..., :5]}, r"`query` .*Received: .*\(2, 7, 5\)"),
        ({"value": X[:1]}, "`value` .*Received: value of shape"),
        ({"value": X, "key": X[:, :6]}, "`key` .*Received: key of shape"),
        ({"key": X}, "`key` needs a `value`. Received: key"),
        ({"attention_mask": np.ones((2, 6), bool)}, "Received: attention_mask"),
        ({"attention_mask": np.ones((2, 7, 6), bool)}, "attention_mask of"),
        ({"attention_mask": np.zeros((2, 7), "float32")}, "float32"),
        ({"mask": np.ones((3, 7), bool)}, "Received: mask of shape"),
        ({"value": X, "mask": np.ones((2, 7), bool)}, "as `attention_mask`"),
        ({"positions": np.arange(7)}, "rotary_base.*Received: positions="),
        ({"attention_bias": X}, "Received: attention_bias of shape"),
    ],
    ids=lambda x: str(list(x)) if isinstance(x, dict) else "",
)
def test_bad_arguments_are_refused(arguments, match):
    layer = made()
    with pytest.raises(ValueError, match=match):
        layer(**{"query": X, **arguments})


CACHE = (normal(2, HEADS, 9, DIM),) * 2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"cache": (X, X)}, "Received: cache of shape"),
        ({"cache": X}, "Received: cache of shape"),
        ({"cache": CACHE[:1]}, "a pair .*Received: cache of shapes"),
        ({"cache": None}, "a pair .*Received: cache of shapes"),
        ({"cache": (3, 4)}, "`cache`"),
        ({"cache": (CACHE[0][:1], CACHE[1])}, "Received: cache of shape"),
        ({"cache": (CACHE[0], CACHE[1][:, :, 1:])}, "Received: cache of shape"),
        ({"index": 1.0}, "Received: index=1.0"),
        ({"index": 3}, "0 to 2. Received: index with 3"),
        ({"index": [0, 3]}, "0 to 2. Received: index with 3"),
        ({"query": X[..., :5]}, r"`query` .*Received: .*\(2, 7, 5\)"),
        ({"attention_mask": np.ones((2, 7), bool)}, "attention_mask of shape"),
        ({"attention_bias": X}, "Received: attention_bias of shape"),
        ({"positions": np.arange(7)}, "rotary_base.*Received: positions="),
    ],
    ids=lambda x: str(list(x)) if isinstance(x, dict) else "",
)
def test_bad_arguments_of_a_step_are_refused(arguments, match):
    given = {"query": X, "cache": CACHE, "index": 0, **arguments}
    with pytest.raises(ValueError, match=match):
        made().step(**given)


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", None, True])
def test_sizes_of_a_cache_are_checked(size):
    with pytest.raises(ValueError, match="`batch_size` .*Received: batch_size"):
        made().empty_cache(size, 4)
    with pytest.raises(ValueError, match="`length` .*Received: length="):
        made().empty_cache(2, size)


@pytest.mark.parametrize("name", ["soft", None, 1])
def test_unknown_normalization_is_refused(name):
    with pytest.raises(ValueError, match="Received: normalization="):
        MultiHeadAttention(HEADS, DIM, normalization=name)


def test_a_scale_that_is_no_bool_is_refused():
    with pytest.raises(ValueError, match="Received: attention_scale='False'"):
        MultiHeadAttention(HEADS, DIM, attention_scale="False")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_fused_form_trains_in_low_precision(policy, causal):
    """Plain Keras does not, on JAX's CPUs in float16."""
    with global_policy(policy):
        x = keras.Input((None, 8))
        layer = MultiHeadAttention(2, 4)
        net = keras.Model(x, layer(x, use_causal_mask=causal))
    net.compile("sgd", "mse", jit_compile=JIT)
    before = [to_numpy(w) for w in net.trainable_variables]
    inputs = normal(2, 7, 8)
    loss = net.fit(inputs, inputs[::-1] * 8, verbose=0).history["loss"]
    assert np.isfinite(loss).all()
    pairs = zip(net.trainable_variables, before, strict=True)
    assert all(
        (to_numpy(w) != b).any() for w, b in pairs if "bias" not in w.path
    )


@pytest.mark.parametrize(
    "init",
    [
        {"rotary_base": 500.0, "num_key_value_heads": 1},
        {"key_dim": 6, "use_bias": False},
    ],
    ids=str,
)
def test_a_step_with_joined_weights_is_the_same(init):
    layer, x = made(**init), normal(2, 7, 8)
    want, cache = layer.step(x, layer.empty_cache(2, 7), 0)
    weights = layer.step_weights()
    assert len(weights) == 1 + layer.use_bias
    got, other = layer.step(x, layer.empty_cache(2, 7), 0, weights=weights)
    np.testing.assert_allclose(to_numpy(got), to_numpy(want), atol=1e-6)
    for a, b in zip(cache, other, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


def test_weights_of_inputs_of_different_sizes_are_not_joined():
    layer = MultiHeadAttention(2, 3)
    layer(normal(2, 7, 8), normal(2, 5, 4))
    assert layer.step_weights() is None


def test_weights_of_a_quantized_layer_are_not_joined():
    layer = made()
    layer.query_dense.quantize("int8")
    assert layer.step_weights() is None
