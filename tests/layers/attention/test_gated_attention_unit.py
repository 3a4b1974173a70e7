"""Article: https://kexue.fm/archives/8934
    《FLASH：可能是近来最有意思的高效Transformer设计》
Article: https://kexue.fm/archives/9019
    《听说Attention与Softmax更配哦～》
"""

import keras
import numpy as np
import pytest

from su_models.backend.autodiff import gradient
from su_models.backend.compile import compiled
from su_models.layers import GatedAttentionUnit
from su_models.ops import prefix_mask
from tests.contract import integers, normal, to_numpy


def made(**more):
    """A unit whose scales, shifts and biases are not ones and zeros."""
    unit = GatedAttentionUnit(10, **{"key_dim": 6, **more})
    unit.build((None, None, 8))
    for i, w in enumerate(unit.weights):
        w.assign(0.5 * normal(i + 1, *w.shape)[i] + 0.2)
    return unit


def rotate(x, base):
    z = x[..., 0::2] + 1j * x[..., 1::2]  # (b, n, s/2)
    theta = base ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
    z = z * np.exp(1j * np.arange(x.shape[1])[:, None] * theta)
    return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)


def loop(unit, x, mask):
    """Eq. (3) and (4) with one loop per query."""
    w = [to_numpy(t).astype("float64") for t in unit.weights]
    bias = unit.use_bias
    if bias:
        gamma_q, beta_q, gamma_k, beta_k, wi, bi, wo, bo = w
    else:
        (gamma_q, gamma_k, wi, wo), bi, bo = w, 0.0, 0.0
        beta_q = beta_k = 0.0
    uvz = x @ wi + bi
    uvz = uvz / (1 + np.exp(-uvz))
    u, v, z = uvz[..., :10], uvz[..., 10:20], uvz[..., 20:]
    q, k = z * gamma_q + beta_q, z * gamma_k + beta_k
    if unit.rotary_base:
        q, k = rotate(q, unit.rotary_base), rotate(k, unit.rotary_base)
    out = np.zeros(x.shape) + bo
    for b, i in np.ndindex(x.shape[:2]):
        keys = np.flatnonzero(mask[b, i])
        if not len(keys):
            continue
        a, n = k[b, keys] @ q[b, i] / 6**0.5, len(keys)
        if unit.normalization == "squared_relu":
            a = np.maximum(a, 0) ** 2 / n
        else:
            if unit.normalization == "softmax_plus":
                a = a * np.log(max(n, 16)) / np.log(512)
            a = np.exp(a) / np.exp(a).sum()
        out[b, i] += (u[b, i] * (a @ v[b, keys])) @ wo
    return out


@pytest.mark.parametrize(
    "init",
    [
        {},
        {"use_bias": False},
        {"rotary_base": 500.0},
        {"normalization": "softmax"},
        {"normalization": "softmax_plus", "rotary_base": 500.0},
    ],
    ids=str,
)
def test_matches_eq_3_and_4(init):
    unit, x = made(**init), normal(2, 7, 8)
    mask = integers(3, 2, 7, 7) > 0
    mask[0, 2] = False
    got = to_numpy(unit(x, attention_mask=mask))
    want = loop(unit, x, mask)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_two_units_weigh_as_much_as_attention_and_feed_forward():
    d = 64  # 4d² and 8d², beside the s columns of Z, biases and scales
    unit = GatedAttentionUnit(2 * d, key_dim=2)
    unit.build((None, None, d))
    assert 0.97 < 2 * unit.count_params() / (12 * d * d) < 1.03


@pytest.mark.parametrize("normalization", ["squared_relu", "softmax_plus"])
def test_masks_are_those_of_attention(normalization):
    unit, x = made(normalization=normalization), normal(2, 7, 8)
    keys = np.arange(7) < np.array([[7], [4]])
    ids = np.array([[0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]])
    c = np.cumsum(ids, axis=1)
    tri = np.broadcast_to(np.tri(7, dtype=bool), (2, 7, 7))
    ways = [
        ({"mask": keys}, np.repeat(keys[:, None], 7, axis=1)),
        (
            {"attention_mask": keys, "use_causal_mask": True},
            tri & keys[:, None],
        ),
        (
            {"attention_mask": prefix_mask(ids)},
            c[:, None] <= c[:, :, None],
        ),
    ]
    for given, mask in ways:
        got, want = to_numpy(unit(x, **given)), loop(unit, x, mask)
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    masked = keras.layers.Masking()(np.where(keys[..., None], x, 0))
    for out in (
        unit(masked),
        unit(masked, positions=None, attention_mask=prefix_mask(0 * ids)),
    ):
        np.testing.assert_allclose(
            to_numpy(out)[keys], to_numpy(unit(x, mask=keys))[keys], atol=1e-4
        )


def test_token_with_nothing_to_attend_to_gives_the_bias():
    unit, x = made(), normal(2, 7, 8)
    mask = np.arange(7) < np.array([[5], [0]])
    out = to_numpy(unit(x, mask=mask))
    bias = to_numpy(unit.output_dense.bias)
    np.testing.assert_allclose(out[1], np.tile(bias, (7, 1)), rtol=1e-6)
    slope = gradient(lambda x: keras.ops.sum(unit(x, mask=mask) ** 2), x)
    assert np.isfinite(to_numpy(slope)).all() and not to_numpy(slope)[1].any()


def test_weights_are_returned_on_request():
    unit, x = made(normalization="softmax"), normal(2, 7, 8)
    out, a = unit(x, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(a).sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(out), to_numpy(unit(x)), rtol=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 7, [4, 1, 2]], ids=str)
@pytest.mark.parametrize(
    "init",
    [
        {"rotary_base": 500.0},
        {"normalization": "softmax_plus", "use_bias": False},
    ],
    ids=str,
)
def test_cached_decoding_equals_the_causal_pass(init, sizes):
    unit, x = made(**init), normal(2, 7, 8)
    want = to_numpy(unit(x, use_causal_mask=True))
    cache, i = unit.empty_cache(2, 9), 0
    assert [tuple(t.shape) for t in cache] == [(2, 1, 9, 6), (2, 1, 9, 10)]
    for n in sizes:
        y, cache = unit.step(x[:, i : i + n], cache, i, use_causal_mask=True)
        np.testing.assert_allclose(
            to_numpy(y), want[:, i : i + n], atol=1e-5 * np.abs(want).max()
        )
        i += n


def test_one_program_decodes_every_token_of_padded_prompts():
    unit, x = made(rotary_base=500.0), normal(2, 6, 8)
    slots = np.arange(6) >= np.array([[0], [2]])
    want = to_numpy(unit(x[1:, 2:], use_causal_mask=True))[0]

    def step(token, cache, index, positions):
        return unit.step(
            token, cache, index, attention_mask=slots, positions=positions
        )

    step, cache = compiled(step), unit.empty_cache(2, 6)
    for i in range(6):
        positions = np.array([[i], [max(i - 2, 0)]], "int32")
        y, cache = step(x[:, i : i + 1], cache, i, positions)
        if i >= 2:
            np.testing.assert_allclose(
                to_numpy(y)[1, 0], want[i - 2], atol=1e-5 * np.abs(want).max()
            )


def test_a_unit_attends_to_no_other_sequence():
    unit = made()
    with pytest.raises(ValueError, match="Received: index=None"):
        unit.step(normal(2, 1, 8), unit.empty_cache(2, 7))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_is_near_to_float32(policy):
    unit, low = made(), made(dtype=policy)
    low.set_weights(unit.get_weights())
    want, got = (to_numpy(t(normal(2, 7, 8))) for t in (unit, low))
    np.testing.assert_allclose(got, want, atol=0.06 * np.abs(want).max())


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ({"units": 0}, "Received: units=0"),
        ({"key_dim": 1.5}, "Received: key_dim=1.5"),
        ({"key_dim": 5, "rotary_base": 1e4}, "even.*Received: key_dim=5"),
        ({"normalization": "relu"}, "Received: normalization='relu'"),
        ({"dropout": 1}, "Received: dropout=1"),
        ({"use_bias": "False"}, "Received: use_bias='False'"),
        ({"rotary_base": -1.0}, "Received: rotary_base=-1.0"),
    ],
)
def test_bad_arguments_are_refused(init, match):
    with pytest.raises(ValueError, match=match):
        GatedAttentionUnit(**{"units": 10, **init})


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"inputs": normal(2, 8)}, "Received: inputs of shape"),
        ({"inputs": normal(2, 7, 9)}, "Received: inputs of shape"),
        ({"mask": np.ones((2, 6), bool)}, "Received: mask of shape"),
        ({"attention_mask": np.ones((2, 7))}, "float"),
        ({"positions": np.arange(7)}, "rotary_base.*Received: positions"),
    ],
)
def test_bad_inputs_are_refused(given, match):
    unit = made()
    with pytest.raises(ValueError, match=match):
        unit(**{"inputs": normal(2, 7, 8), **given})
