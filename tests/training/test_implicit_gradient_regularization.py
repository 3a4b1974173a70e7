"""Article: https://kexue.fm/archives/7787"""

import keras
import numpy as np
import pytest
from keras import layers

from su_models.training import ImplicitGradientRegularization
from tests.contract import JIT, normal, to_numpy
from tests.training.two_replicas import needs_replicas, run_on_two_replicas

X, Y = normal(6, 3), normal(6, 1)[::-1].copy()


def linear(w=None, **kwargs):
    """x·w + b, of zeros if not given."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, **kwargs)])
    model.layers[0].kernel.assign(np.full((3, 1), 0.5) if w is None else w)
    return model


def deep():
    inputs = keras.Input((3,))
    h = layers.Dense(5, "tanh")(inputs)
    model = keras.Model(inputs, layers.Dense(1)(h))
    model.layers[1].kernel.assign(0.6 * normal(3, 5))
    model.layers[2].kernel.assign(0.6 * normal(5, 1))
    return model


def train(model, rate, steps, jit=JIT):
    """So many steps on the one batch; returns the mean loss."""
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile=jit)
    x, y = (np.tile(a, (steps, 1)) for a in (X, Y))
    fit = model.fit(x, y, batch_size=6, shuffle=False, verbose=0)
    return fit.history["loss"][0]


def theta(model):
    weights = [to_numpy(w).ravel() for w in model.trainable_variables]
    return np.concatenate(weights).astype("float64")


def by_hand(w, x, y, l2=0.0):
    """L = mean (x·w - y)² + l2 |w|² (no bias in it), ∇L and its Hessian."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    e = x @ w - y[:, 0]
    decay = l2 * np.diag([1.0] * (len(w) - 1) + [0.0])
    g = 2 * x.T @ e / len(x) + 2 * decay @ w
    return (e**2).mean() + w @ decay @ w, g, 2 * x.T @ x / len(x) + 2 * decay


@pytest.mark.parametrize("jit", sorted({False, JIT}))
@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_loss_and_step_are_eq_4(l2, jit):
    gamma, rate = 0.4, 0.1
    penalty = keras.regularizers.L2(l2) if l2 else None
    model = linear(kernel_regularizer=penalty)
    w = theta(model)
    value, g, hessian = by_hand(w, X, Y, l2)
    loss = train(ImplicitGradientRegularization(model, gamma), rate, 1, jit)
    np.testing.assert_allclose(loss, value + gamma / 4 * g @ g, rtol=1e-5)
    slope = g + gamma / 2 * hessian @ g
    np.testing.assert_allclose(theta(model), w - rate * slope, atol=1e-6)


def test_the_penalty_with_a_small_rate_matches_the_large_rate():
    """Descent of rate γ against small steps, by halving γ: order 1 and 2."""
    errors, tiny = [], 0.005
    small = deep()
    train(small, tiny, round(1 / tiny))
    for gamma in (0.1, 0.05):
        large, penalized = deep(), deep()
        train(large, gamma, round(1 / gamma))
        # the small steps have a hidden penalty of their own
        wrapper = ImplicitGradientRegularization(penalized, gamma - tiny)
        train(wrapper, tiny, round(1 / tiny))
        errors.append(
            [
                np.linalg.norm(theta(m) - theta(large))
                for m in (small, penalized)
            ]
        )
    errors = np.array(errors)  # (γ, [plain, with the penalty])
    assert (errors[:, 1] < errors[:, 0] / 3).all(), errors
    orders = np.log2(errors[0] / errors[1])
    assert orders[0] == pytest.approx(1.0, abs=0.2), orders
    assert orders[1] == pytest.approx(2.0, abs=0.3), orders


def test_rate_zero_is_plain_training():
    plain, model = deep(), deep()
    expected = train(plain, 0.1, 3)
    got = train(ImplicitGradientRegularization(model, 0.0), 0.1, 3)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(theta(model), theta(plain), atol=1e-6)


def test_it_leads_to_smaller_gradients():
    norms = []
    for rate in (0.0, 3.0):
        model = deep()
        wrapper = ImplicitGradientRegularization(model, rate)
        train(wrapper, 0.02, 30, jit=False)
        before = theta(model)
        train(model, 1e-3, 1, jit=False)
        norms.append(np.linalg.norm(before - theta(model)) / 1e-3)
    assert norms[1] < 0.8 * norms[0]


def test_frozen_weights_are_no_part_of_the_gradient():
    model = linear()
    model.layers[0].kernel.assign(np.zeros((3, 1)))
    frozen = keras.Sequential([keras.Input((3,)), layers.Dense(3), model])
    frozen.layers[0].trainable = False
    kernel, bias = map(to_numpy, frozen.layers[0].weights)
    value, g, _ = by_hand(theta(model), X @ kernel + bias, Y)
    loss = train(ImplicitGradientRegularization(frozen, 0.4), 0.1, 1)
    np.testing.assert_allclose(loss, value + 0.1 * g @ g, rtol=1e-5)
    np.testing.assert_array_equal(to_numpy(frozen.layers[0].kernel), kernel)
    frozen.trainable = False
    frozen = ImplicitGradientRegularization(frozen, 0.4)
    frozen.compile(loss="mse", jit_compile=JIT)
    assert frozen.evaluate(X, Y, verbose=0) > 0


MIRRORED = """
from su_models.training import ImplicitGradientRegularization
from tests.training.test_implicit_gradient_regularization import (
    X, Y, by_hand, linear, theta
)

gamma, rate = 0.4, 0.1
with strategy.scope():
    model = linear()
    wrapper = ImplicitGradientRegularization(model, gamma)
    wrapper.compile(keras.optimizers.SGD(rate), "mse", jit_compile=False)
w = theta(model)
wrapper.fit(X, Y, batch_size=6, shuffle=False, verbose=0)
slopes = []
for part in (slice(0, 3), slice(3, 6)):
    _, g, hessian = by_hand(w, X[part], Y[part])
    slopes.append(g + gamma / 2 * hessian @ g)
expected = w - rate * np.mean(slopes, axis=0)
np.testing.assert_allclose(theta(model), expected, atol=1e-6)
"""


@pytest.mark.slow
@needs_replicas
def test_each_replica_has_the_gradient_of_its_part():
    run_on_two_replicas(MIRRORED)


@pytest.mark.parametrize(
    "rate", [-0.1, float("nan"), float("inf"), "high", None, True]
)
def test_bad_rates_are_refused(rate):
    with pytest.raises(ValueError, match="`rate` must be .*Received: rate="):
        ImplicitGradientRegularization(linear(), rate)
