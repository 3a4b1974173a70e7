"""Article: https://kexue.fm/archives/6853
    《为节约而生：从标准Attention到稀疏Attention》

D1 ... D6 are the defects of the author's code that must not come back.
"""

import importlib

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.ops import atrous_attention, local_attention, sparse_attention
from tests.contract import integers, normal, to_numpy
from tests.layers.attention.patterns import attend, pattern
from tests.long_sums import assert_accumulated, sum_in

# by name: as an attribute of `su_models.ops` it is the function
MODULE = importlib.import_module("su_models.ops.sparse_attention")
B, HEADS, DIM = 2, 3, 4
ATTENTION = {
    (None, True): local_attention,
    (True, None): atrous_attention,
    (True, True): sparse_attention,
}
# (n, rate, window): not multiples, one block and more, wider than the length
SIZES = [
    (13, None, 0),
    (13, None, 3),
    (16, None, 4),
    (29, None, 9),
    (9, None, 40),
    (13, 1, None),
    (13, 4, None),
    (12, 4, None),
    (5, 40, None),
    (1, 3, 2),
    (13, 4, 0),
    (29, 5, 3),
    (24, 4, 9),
    (13, 3, 7),
    (13, 40, 2),
    (7, 2, 40),
]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Blocks of four and eight, so that short sequences have many."""
    monkeypatch.setattr(MODULE, "_BLOCKS", (4, 8))


def run(n, rate, window, q, k, v, **more):
    function = ATTENTION[rate and True, None if window is None else True]
    sizes = [size for size in (rate, window) if size is not None]
    return function(*map(ops.convert_to_tensor, (q, k, v)), *sizes, **more)


def fast(function, *args):
    """On JAX one program: there each single operation is compiled."""
    if keras.backend.backend() == "jax":
        function = compiled(function)
    return keras.tree.map_structure(to_numpy, function(*args))


def tensors(n):
    x = 2 * normal(3, B, n, HEADS, DIM + 2)
    return x[0], x[1], x[2, ..., :DIM]


def dense(q, k, v, keep):
    scores = ops.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    scores = ops.where(keep[:, None], scores, -1e9)
    weights = ops.softmax(scores) * ops.cast(keep[:, None], "float32")
    return ops.einsum("bhqk,bkhd->bqhd", weights, v)


def masks(n):
    """A key mask, right-padded, and a pair mask with an empty row."""
    keys = np.arange(n) < np.array([[n], [n - n // 3]])
    pairs = integers(4, B, n, n) > 0
    pairs[1, n // 2] = False
    return keys, pairs


@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_matches_eq_1_on_the_pattern(sizes, causal):
    n = sizes[0]
    q, k, v = tensors(n)
    keep = np.tile(pattern(*sizes, causal), (B, 1, 1))
    got = fast(lambda *x: run(*sizes, *x, causal=causal), q, k, v)
    np.testing.assert_allclose(got, attend(q, k, v, keep), atol=1e-5)


@pytest.mark.parametrize("which", ["keys", "pairs", "both", "one row"])
@pytest.mark.parametrize("sizes", SIZES[3::3], ids=str)
def test_masks_hide_keys(sizes, which):
    n = sizes[0]
    q, k, v = tensors(n)
    keys, pairs = masks(n)
    given = {
        "keys": {"key_mask": keys},
        "pairs": {"pair_mask": pairs},
        "both": {"key_mask": keys[1:], "pair_mask": pairs[1:]},  # of all
        "one row": {"key_mask": keys, "pair_mask": pairs[:, :1]},
    }[which]
    keep = np.tile(pattern(*sizes), (B, 1, 1))
    for name, mask in given.items():
        keep &= mask[:, None] if name == "key_mask" else mask
    got = fast(lambda *x: run(*sizes, *x, **given), q, k, v)
    np.testing.assert_allclose(got, attend(q, k, v, keep), atol=1e-5)


@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("sizes", SIZES[3::4], ids=str)
def test_gradients_are_those_of_the_dense_form(sizes, causal):
    n = sizes[0]
    keys, pairs = masks(n)
    keep = pattern(*sizes, causal) & keys[:, None] & pairs
    weight = ops.convert_to_tensor(normal(B, n, HEADS, DIM))

    def slopes(function):
        def loss(*x):
            return ops.sum(function(*x) * weight)

        return fast(lambda *x: gradient(loss, *x), *tensors(n))

    def ours(*x):
        return run(*sizes, *x, causal=causal, key_mask=keys, pair_mask=pairs)

    peers = slopes(lambda *x: dense(*x, keep))
    for a, b in zip(slopes(ours), peers, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


# ---- the defects


@pytest.mark.parametrize("sizes", [(13, None, 3), (13, 4, None), (13, 4, 3)])
def test_d1_default_arguments_do_not_average(sizes):
    q, k, v = tensors(13)
    got = to_numpy(run(*sizes, q, k, v))
    average = attend(0 * q, k, v, np.tile(pattern(*sizes), (B, 1, 1)))
    assert np.abs(got - average).max() > 0.5


def weights(n, rate, window, **more):
    """The attention matrix: the value of key j is the j-th unit vector."""
    q, k, _ = tensors(n)
    eye = np.tile(np.eye(n, dtype="float32")[None, :, None], (B, 1, HEADS, 1))
    return to_numpy(run(n, rate, window, q, k, eye, **more))


def test_d2_near_keys_are_attended_to():
    found = weights(29, 5, 2)[0, :, 0] > 0
    np.testing.assert_array_equal(found, pattern(29, 5, 2))
    assert found[14, [12, 13, 15, 16, 4, 9, 19, 24]].all()


def test_d3_self_counts_once():
    q, k, v = tensors(13)
    got = to_numpy(run(13, 4, 3, 0 * q, k, v))
    # equal scores, so each key that is attended to has an equal share
    keep = pattern(13, 4, 3)
    mean = np.einsum("ij,bjhd->bihd", keep / keep.sum(1, keepdims=True), v)
    np.testing.assert_allclose(got, mean, atol=1e-5)


@pytest.mark.parametrize("sizes", [(13, None, 3), (13, 4, None), (13, 4, 3)])
def test_d4_filling_takes_no_part(sizes):
    row_sums = weights(*sizes).sum(axis=-1)
    np.testing.assert_allclose(row_sums, 1.0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("sizes", [(13, None, 3), (13, 4, None), (13, 4, 3)])
def test_d5_masks_are_finite_in_low_precision(sizes, dtype):
    keys, pairs = masks(13)
    keep = pattern(*sizes) & keys[:, None] & pairs
    low = [ops.cast(x, dtype) for x in tensors(13)]
    got = run(*sizes, *low, key_mask=keys, pair_mask=pairs)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    want = attend(*map(to_numpy, low), keep)
    np.testing.assert_allclose(to_numpy(got), want, atol=0.06)


def test_d5_large_scores_are_finite_in_float16():
    q, k, v = tensors(13)
    q, k = (100 * np.sign(x) for x in (q, k))  # q·k = 6 · 10⁴
    low = [ops.cast(x, "float16") for x in (q, k, v)]
    assert np.isfinite(to_numpy(run(13, 4, 3, *low))).all()


def test_d5_sums_of_many_values_stay_finite_in_float16():
    n = 300  # equal weights of 1, and values whose sum is 90 000
    q, v = np.zeros((1, n, 1, 2)), np.full((1, n, 1, 2), 300.0)
    q, v = (ops.cast(x, "float16") for x in (q, v))
    for sizes in ((n, 1, None), (n, None, n), (n, 2, 150)):
        y = fast(lambda q, v, sizes=sizes: run(*sizes, q, q, v), q, v)
        np.testing.assert_allclose(y, 300, 1e-3)


LONG = 1500
# (n, rate, window) with which every query attends to all keys
WHOLE = [(LONG, None, LONG), (LONG, 1, None), (LONG, 1, LONG // 2)]


@pytest.fixture
def _one_block(monkeypatch):
    monkeypatch.setattr(MODULE, "_BLOCKS", (LONG, LONG))


@pytest.mark.usefixtures("_one_block")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("sizes", WHOLE)
def test_d5_sums_over_keys_are_accumulated_in_float32(sizes, dtype):
    """Means of values; and what a value gets from all queries."""
    v, w = 1 + np.abs(normal(2, 1, 1, 1, 6)) + np.zeros((LONG, 1, 1))
    v, w = (ops.cast(x, dtype) for x in (v, w))  # (1, n, 1, 6)
    q = ops.zeros_like(v)

    def contexts(v):
        return ops.cast(run(*sizes, q, q, v), "float32")

    def both(v):
        slope = gradient(lambda v: ops.sum(ops.multiply(contexts(v), w)), v)
        return contexts(v), ops.cast(slope, "float32")

    # rounded are weights, products of a part, their sum and the quotient
    for y, summed in zip(fast(both, v), (v, w), strict=True):
        means = to_numpy(ops.cast(summed, "float32"))[0] / LONG
        assert_accumulated(y[0, LONG // 2], means, dtype, roundings=4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_d5_scores_are_accumulated_in_float32(dtype):
    """Sums that rise far and come back to 0 and to 1."""
    dim = 2**14  # √dim is a power of 2: scaling is exact
    k = np.ones((1, 2, 1, dim))
    k[..., dim // 2 :] = -1
    k[:, 1, ..., -128:] = 0
    terms = k[0, :, 0].T / 128
    assert not np.diff(sum_in(dtype, terms)), "a loop sees no difference"
    q, v = np.ones_like(k), np.reshape([0.0, 1.0], (1, 2, 1, 1))
    q, k, v = (ops.cast(x, dtype) for x in (q, k, v))
    y = fast(lambda *x: ops.cast(run(2, None, 1, *x), "float32"), q, k, v)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-1)), 2.0**-7)


def test_d5_float64_is_not_rounded_to_float32():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras makes float32 of float64")
    q, k, v = (x.astype("float64") for x in tensors(13))
    for rate, window in ((None, 3), (3, None), (4, 3)):
        exact = [ops.convert_to_tensor(x, "float64") for x in (q, k, v)]
        y = ops.convert_to_numpy(run(13, rate, window, *exact))
        keep = pattern(13, rate, window)
        expected = attend(q, k, v, np.broadcast_to(keep, (B, 13, 13)))
        assert y.dtype == "float64"
        np.testing.assert_allclose(y, expected, rtol=1e-12)


def test_d6_nothing_is_projected_or_kept_for_each_pair():
    """No tensor has a size of n²: each grows linearly with the window."""
    n, window = 512, 4
    sizes = [
        np.prod(shape, dtype="int64")
        for shape in intermediate_shapes(
            lambda q, k, v: local_attention(q, k, v, window),
            *(normal(1, n, 1, 8) for _ in range(3)),
        )
    ]
    assert len(sizes) > 10
    assert max(sizes) <= n * 24  # keys and values beside a block: 12 wide


def intermediate_shapes(function, *args):
    """Yields the shapes of all tensors of a compiled program."""
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch runs eagerly: there is no program to look at")
    if keras.backend.backend() == "jax":
        import jax
        from jax.extend.core import jaxprs_in_params

        def walk(jaxpr):
            for equation in jaxpr.eqns:
                yield from (v.aval.shape for v in equation.outvars)
                for inner in jaxprs_in_params(equation.params):
                    yield from walk(inner)

        yield from walk(jax.make_jaxpr(function)(*args).jaxpr)
        return
    import tensorflow as tf

    graph = tf.function(function).get_concrete_function(*args).graph
    for operation in graph.get_operations():
        yield from (tuple(t.shape) for t in operation.outputs)


# ---- what has no keys, is empty, is compiled


@pytest.mark.parametrize("sizes", [(13, None, 3), (13, 4, None), (13, 4, 3)])
def test_a_query_without_keys_gets_0_and_a_finite_gradient(sizes):
    q, k, v = map(ops.convert_to_tensor, tensors(13))
    nothing = np.zeros((1, 13), bool)
    assert not to_numpy(run(*sizes, q, k, v, key_mask=nothing)).any()
    slope = gradient(
        lambda q: ops.sum(run(*sizes, q, k, v, key_mask=nothing) ** 2), q
    )
    assert not to_numpy(slope).any()


@pytest.mark.parametrize("sizes", [(0, None, 3), (0, 4, None), (0, 4, 3)])
@pytest.mark.parametrize("batch", [0, 2])
def test_empty_sequences_give_empty_results(sizes, batch):
    x = np.zeros((batch, 0, HEADS, DIM), "float32")
    assert tuple(run(*sizes, x, x, x).shape) == x.shape


@pytest.mark.parametrize("sizes", SIZES[3::5], ids=str)
def test_compiled_equals_eager(sizes):
    q, k, v = map(ops.convert_to_tensor, tensors(sizes[0]))
    keys, pairs = masks(sizes[0])

    def function(*x):
        return run(*sizes, *x[:3], key_mask=x[3], pair_mask=x[4])

    args = q, k, v, keys, pairs
    np.testing.assert_allclose(
        to_numpy(compiled(function)(*args)),
        to_numpy(function(*args)),
        atol=1e-5,
    )


def test_drop_sees_the_weights_and_scales_the_rest():
    q, k, v = tensors(13)
    half = run(13, 4, 3, q, k, v, drop=lambda weights: weights / 2)
    whole = run(13, 4, 3, q, k, v)
    np.testing.assert_allclose(2 * to_numpy(half), to_numpy(whole), atol=1e-5)


def test_blocks_are_no_wider_than_the_window_needs():
    assert MODULE._tiling(100, 3, False) == (4, 3, 3)
    assert MODULE._tiling(100, 9, False) == (8, 9, 9)
    assert MODULE._tiling(100, 9, True) == (8, 9, 0)
    assert MODULE._tiling(None, 50, False) == (8, 50, 50)
    assert MODULE._tiling(20, 50, False) == (20, 0, 0)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_compiles_with_its_gradient_for(platform):
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX compiles for a platform that is not here")

    def step(q, k, v):
        return gradient(
            lambda *x: ops.sum(sparse_attention(*x, 4, 3) ** 2), q, k, v
        )

    exported = compiled(step).export(*tensors(29), platforms=[platform])
    assert exported.platforms == (platform,)
    assert "stablehlo.dot_general" in exported.mlir_module()


# ---- refusals


@pytest.mark.parametrize("window", [-1, 1.5, True, None, "3"])
def test_bad_window_is_refused(window):
    x = normal(2, 7, 3, 4)
    for call in (
        lambda: local_attention(x, x, x, window),
        lambda: sparse_attention(x, x, x, 2, window),
    ):
        with pytest.raises(ValueError, match="`window` .*Received: window="):
            call()


@pytest.mark.parametrize("rate", [0, -2, 1.5, True, None, "3"])
def test_bad_rate_is_refused(rate):
    x = normal(2, 7, 3, 4)
    for call in (
        lambda: atrous_attention(x, x, x, rate),
        lambda: sparse_attention(x, x, x, rate, 2),
    ):
        with pytest.raises(ValueError, match="`rate` .*Received: rate="):
            call()


def test_other_shapes_are_refused():
    x, short = normal(2, 7, 3, 4), normal(2, 6, 3, 4)
    for bad in ((x, short, x), (x, x, short), (x[0], x[0], x[0])):
        with pytest.raises(ValueError, match="Received: q, k, v of shapes"):
            local_attention(*bad, 2)
