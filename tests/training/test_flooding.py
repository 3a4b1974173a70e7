"""Article: https://kexue.fm/archives/7643"""

import keras
import numpy as np
import pytest
from keras import layers

from su_models.training import Flooding
from tests.contract import JIT, normal, to_numpy
from tests.training.two_replicas import needs_replicas, run_on_two_replicas


def parabola(w, **kwargs):
    """A model of one weight w, whose loss for x = 1, y = 0 is w²."""
    dense = layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(w),
        **kwargs,
    )
    return keras.Sequential([keras.Input((1,)), dense])


def train(
    model, steps=1, rate=0.1, optimizer=None, x=None, y=None, jit=JIT, **kwargs
):
    """Fits on one batch, again and again; returns the losses."""
    optimizer = optimizer or keras.optimizers.SGD(rate)
    if not model.compiled:
        model.compile(optimizer, "mse", jit_compile=jit)
    x = np.ones((2, 1), "float32") if x is None else x
    y = np.zeros((2, 1), "float32") if y is None else y
    fit = model.fit(x, y, epochs=steps, verbose=0, shuffle=False, **kwargs)
    return np.array(fit.history["loss"])


def weight(model):
    return float(to_numpy(model.trainable_variables[0]).ravel()[0])


@pytest.mark.parametrize(
    ("level", "sign"), [(0.5, 1), (0.99, 1), (1.0, 0), (1.01, -1), (2.0, -1)]
)
def test_the_gradient_changes_its_sign_at_the_level(level, sign):
    model = parabola(1.0)  # L = 1, dL/dw = 2
    loss = train(Flooding(model, level))
    np.testing.assert_allclose(weight(model), 1 - 0.1 * 2 * sign, rtol=1e-6)
    np.testing.assert_allclose(loss, abs(1 - level) + level, rtol=1e-6)


def test_level_zero_is_plain_training():
    x, y = normal(12, 3), normal(12, 2)
    weights = []
    for wrap in (lambda m: m, lambda m: Flooding(m, 0.0)):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        h = layers.Dense(4, "tanh", kernel_regularizer="l2")(inputs)
        model = keras.Model(inputs, layers.Dense(2)(h))
        adam = keras.optimizers.Adam(0.01)
        losses = train(
            wrap(model), 3, optimizer=adam, x=x, y=y, batch_size=4, jit=False
        )
        weights.append([*map(to_numpy, model.weights), losses])
    for plain, flooded in zip(*weights, strict=True):
        np.testing.assert_allclose(flooded, plain, rtol=1e-5, atol=1e-6)


def test_the_loss_of_a_parabola_floats_around_the_level():
    level, model = 0.25, parabola(2.0)
    wrapper, above = Flooding(model, level), []
    losses = train(wrapper, 40, rate=0.02, jit=False)
    assert (losses >= level).all(), "what is reported is |L - b| + b"
    assert losses[0] == pytest.approx(4.0) and losses[-1] < level + 0.03
    for _ in range(4):
        train(wrapper)
        above.append(weight(model) ** 2 > level)
        assert abs(weight(model) ** 2 - level) < 0.03
    assert above == [above[0], not above[0]] * 2
    # evaluation is not flooded
    x, y = np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")
    got = wrapper.evaluate(x, y, verbose=0)
    assert got == pytest.approx(weight(model) ** 2, rel=1e-5)


def test_a_step_down_and_a_step_up_are_eq_3():
    # θ - ε²/2 ∇‖∇L‖² = w - ε²/2 · 8 w, which is exact for L = w²
    model, rate = parabola(1.0), 0.03
    wrapper = Flooding(model, 0.95)
    train(wrapper, 1, rate=rate)
    assert weight(model) ** 2 < 0.95
    train(wrapper, 1, rate=rate)
    np.testing.assert_allclose(weight(model), 1 - 4 * rate**2, rtol=1e-6)


@pytest.mark.parametrize("level", [0.5, 3.0])
def test_penalties_of_weights_always_descend(level):
    model = parabola(1.0, kernel_regularizer=keras.regularizers.L2(0.3))
    loss = train(Flooding(model, level))
    sign = 1 if level < 1 else -1
    moved = 1 - 0.1 * (2 * sign + 2 * 0.3)
    np.testing.assert_allclose(weight(model), moved, rtol=1e-6)
    np.testing.assert_allclose(loss, abs(1 - level) + level + 0.3, rtol=1e-6)


def test_what_depends_on_the_data_is_flooded():
    # L = w² + 0.5 w² from the activity: above the level only together
    model = parabola(1.0, activity_regularizer=keras.regularizers.L2(0.5))
    train(Flooding(model, 1.2))
    np.testing.assert_allclose(weight(model), 1 - 0.1 * 3, rtol=1e-6)


def test_the_mean_of_the_batch_is_flooded_not_each_sample():
    # losses 0 and 4, mean 2: above the level, though one sample is below
    model = parabola(1.0)
    x = np.array([[1.0], [1.0]], "float32")
    y = np.array([[1.0], [3.0]], "float32")
    train(Flooding(model, 1.0), x=x, y=y)
    np.testing.assert_allclose(weight(model), 1 + 0.1 * 2, rtol=1e-6)
    model = parabola(1.0)
    weights = np.array([1.0, 0.0], "float32")  # their mean is 0
    train(Flooding(model, 1.0), x=x, y=y, sample_weight=weights)
    np.testing.assert_allclose(weight(model), 1.0, rtol=1e-6)


def test_each_part_of_an_accumulated_gradient_is_flooded():
    # losses 1 and 4 about a level of 2: one up, one down
    x = np.array([[1.0], [2.0]], "float32")
    sgd = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model = parabola(1.0)
    y = np.zeros((2, 1), "float32")
    train(Flooding(model, 2.0), optimizer=sgd, x=x, y=y, batch_size=1)
    moved = 1 - 0.1 * (-2 + 8) / 2
    np.testing.assert_allclose(weight(model), moved, rtol=1e-6)


MIRRORED = """
from su_models.training import Flooding
from tests.training.test_flooding import parabola, weight

with strategy.scope():
    model = parabola(1.0, kernel_regularizer=keras.regularizers.L2(0.3))
    wrapper = Flooding(model, 2.0)
    wrapper.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
x, y = np.array([[1.0], [2.0]], "float32"), np.zeros((2, 1), "float32")
fit = wrapper.fit(x, y, batch_size=2, shuffle=False, verbose=0)
# losses of 1 and 4: one up, one down
np.testing.assert_allclose(fit.history["loss"], (3 + 4) / 2 + 0.3, rtol=1e-5)
moved = 1 - 0.1 * ((-2 + 8) / 2 + 0.6)
np.testing.assert_allclose(weight(model), moved, rtol=1e-6)
"""


@pytest.mark.slow
@needs_replicas
def test_each_replica_floods_its_part():
    run_on_two_replicas(MIRRORED)


@pytest.mark.parametrize(
    "level", [-0.1, float("nan"), float("inf"), "high", None, True]
)
def test_bad_levels_are_refused(level):
    with pytest.raises(ValueError, match="`level` must be .*Received: level="):
        Flooding(parabola(1.0), level)
