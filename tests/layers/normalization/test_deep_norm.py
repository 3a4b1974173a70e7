"""Article: https://kexue.fm/archives/8978, https://kexue.fm/archives/8994"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import value_and_variable_gradient
from su_models.layers import DeepNorm, LayerNormalization
from su_models.ops import deep_norm_coefficients
from tests.contract import normal, to_numpy
from tests.marks import needs_float64


@pytest.mark.parametrize("alpha", [0.5, 1, 3.7])
def test_matches_eq_4(alpha):
    x, f = normal(2, 5, 6), normal(2, 5, 6)[::-1].copy()
    layer = DeepNorm(alpha, epsilon=0.01)
    layer(x, f)
    for i, w in enumerate(layer.weights):
        w.assign(np.random.default_rng(i).normal(size=w.shape))
    beta, gamma = (to_numpy(w) for w in layer.weights)
    expected = np.empty(x.shape)
    for place in np.ndindex(x.shape[:-1]):
        v = alpha * x[place].astype("float64") + f[place]
        v = (v - v.mean()) / np.sqrt(v.var() + 0.01)
        expected[place] = v * gamma + beta
    np.testing.assert_allclose(to_numpy(layer(x, f)), expected, atol=1e-5)


def test_only_the_ratio_of_input_and_residual_matters():
    """Eq. (4): LN(αx + F) = LN(x + F/α), where ε is divided by α²."""
    x, f = normal(2, 5, 6), normal(2, 5, 6)[::-1].copy()
    ours = DeepNorm(2.5, epsilon=0.05)(x, f)
    other = LayerNormalization(epsilon=0.05 / 2.5**2)(x + f / 2.5)
    np.testing.assert_allclose(to_numpy(ours), to_numpy(other), atol=1e-5)


def test_alpha_1_is_post_norm():
    x, f = normal(2, 5, 6), normal(2, 5, 6)[::-1].copy()
    post = keras.layers.LayerNormalization(epsilon=1e-7)(x + f)
    ours = to_numpy(DeepNorm(1)(x, f))
    np.testing.assert_allclose(ours, to_numpy(post), atol=1e-5)


def steps(layers, rule, d=32):
    """What a step would do to `layers` blocks of two residual branches.

    Returns ‖∇L‖², ‖∇L‖₁ over all matrices, and how far a step of SGD moves
    the output.
    """
    rng = np.random.default_rng(0)
    alpha, beta = 1.0, 1.0
    if rule:
        (alpha, beta), _ = deep_norm_coefficients(layers, rule=rule)

    def dense(n, m, activation=None):
        layer = keras.layers.Dense(m, activation, use_bias=False)
        layer.build((None, n))
        xavier = np.sqrt(6 / (n + m))
        layer.kernel.assign(beta * rng.uniform(-xavier, xavier, (n, m)))
        return layer

    blocks = [
        (dense(d, 2 * d, "relu"), dense(2 * d, d), DeepNorm(alpha))
        for _ in range(2 * layers)
    ]
    inputs, targets = rng.normal(size=(2, 8, d)).astype("float32")

    def outputs():
        x = ops.convert_to_tensor(inputs)
        for first, second, norm in blocks:
            x = norm(x, second(first(x)))
        return x

    before = to_numpy(outputs())
    kernels = [layer.kernel for block in blocks for layer in block[:2]]
    _, gradients = value_and_variable_gradient(
        lambda: ops.mean(ops.square(ops.subtract(outputs(), targets))), kernels
    )
    for w, g in zip(kernels, gradients, strict=True):
        w.assign(w - 0.05 * g)
    moved = np.sqrt(np.mean((to_numpy(outputs()) - before) ** 2))
    gradients = [to_numpy(g) for g in gradients]
    square = sum((g**2).sum() for g in gradients)
    return square, sum(np.abs(g).sum() for g in gradients), moved


@pytest.fixture(scope="module")
def sweep():
    """12 layers over 3 under each rule: the quotient of `steps`."""
    return {
        rule: np.divide(steps(12, rule), steps(3, rule))
        for rule in (None, "deepnet", "sgd", "adam", "lamb")
    }


def test_plain_post_norm_moves_more_the_deeper_it_is(sweep):
    """增量爆炸, the explosion of increments; ΔL ∝ ‖∇L‖²."""
    square, absolute, moved = sweep[None]
    assert square > 2 and absolute > 2 and moved > 2


@pytest.mark.parametrize("rule", ["deepnet", "sgd"])
def test_a_step_of_sgd_does_not_grow_with_depth(sweep, rule):
    square, absolute, moved = sweep[rule]
    assert 0.8 < square < 1.25
    assert 0.8 < moved < 1.25
    assert absolute > 1.6  # so Adam, whose steps follow it, needs its own rule


def test_a_step_of_adam_does_not_grow_with_depth(sweep):
    square, absolute, moved = sweep["adam"]
    assert 0.8 < absolute < 1.25
    assert square < 0.4  # while SGD would hardly learn


def test_a_step_of_lamb_does_not_grow_with_depth(sweep):
    """LAMB's steps are as large as the weights, which begin as λ."""
    _, absolute, _ = sweep["lamb"]
    assert 0.8 < absolute / np.sqrt(12 / 3) < 1.25


def test_gradients_of_the_residual_are_divided_by_alpha():
    """Eq. (7) of 8994 with ε = 1/α, once α is large."""
    x, f = normal(4, 16), normal(4, 16)[::-1].copy()
    weights = np.random.default_rng(5).normal(size=(4, 16)).astype("float32")

    def norm_of_slope(alpha):
        layer, w = DeepNorm(alpha), keras.Variable(np.eye(16, dtype="f4"))
        layer.build(x.shape, f.shape)
        _, (g,) = value_and_variable_gradient(
            lambda: ops.sum(ops.multiply(layer(x, ops.matmul(f, w)), weights)),
            [w],
        )
        return np.linalg.norm(to_numpy(g))

    ratio = norm_of_slope(20.0) / norm_of_slope(200.0)
    assert ratio == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_large_alpha_is_finite_and_sums_in_float32(policy):
    x, f = 60_000 * np.ones((2, 4), "f4"), normal(2, 4)
    x[:, 0] = 0
    low = DeepNorm(45.0, dtype=policy)(x, f)
    expected = to_numpy(DeepNorm(45.0)(x, f))
    np.testing.assert_allclose(to_numpy(low), expected, atol=2e-2)


def test_mask_reaches_the_next_layer():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    x = DeepNorm(2.0)(x, keras.layers.Dense(4)(x))
    net = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(x))
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([3, 4, 0], [3, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-6)


@pytest.mark.parametrize("alpha", [0, -1.0, "2", None, float("inf"), True])
def test_alpha_that_is_not_positive_is_refused(alpha):
    with pytest.raises(ValueError, match="Received: alpha="):
        DeepNorm(alpha)


def test_bad_shapes_and_epsilon_are_refused():
    with pytest.raises(ValueError, match=r"Received: residual of .*\(2, 1\)"):
        DeepNorm(2.0)(normal(2, 4), normal(2, 1))
    with pytest.raises(ValueError, match="Received: inputs_shape="):
        DeepNorm(2.0)(normal(4), normal(4))
    with pytest.raises(ValueError, match="Received: epsilon=0"):
        DeepNorm(2.0, epsilon=0)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 1)])
def test_other_batches_are_refused_also_once_it_is_built(n, m):
    layer = DeepNorm(2.0)
    layer(normal(2, 6), normal(2, 6))
    with pytest.raises(ValueError, match="Received: residual of shape"):
        layer(normal(n, 6), normal(m, 6))


def test_numpy_numbers_are_numbers():
    config = DeepNorm(np.float32(1.5), np.float64(0.5)).get_config()
    assert [type(config[k]) for k in ("alpha", "epsilon")] == [float, float]


@needs_float64
def test_float64_is_kept():
    x, r = 1e6 + normal(2, 6).astype("float64"), np.zeros((2, 6))
    y = ops.convert_to_numpy(DeepNorm(1.0, dtype="float64")(x, r))
    z = x - x.mean(axis=-1, keepdims=True)
    z = z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-7)
    np.testing.assert_allclose(y, z, rtol=1e-9)
