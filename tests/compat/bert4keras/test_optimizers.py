"""The numbers are compared with bert4keras in tests/parity/test_compat.py."""

import json

import keras
import numpy as np
import pytest

from su_models import optimizers as ours
from su_models.compat.bert4keras import optimizers
from su_models.compat.bert4keras.layer_adaptation import LayerAdaptation
from su_models.compat.bert4keras.moving_average import MovingAverage
from tests.contract import normal, to_numpy

EXTENSIONS = {
    "weight_decay": {"exclude_from_weight_decay": ["bias"]},
    "layer_adaptation": {"exclude_from_layer_adaptation": ["bias"]},
    "piecewise_linear_lr": {"lr_schedule": {2: 1, 4: 0.1}},
    "gradient_accumulation": {"grad_accum_steps": 2},
    "lookahead": {"steps_per_slow_update": 3, "slow_step_size": 0.4},
    "lazy_optimization": {"include_in_lazy_optimization": ["tokens"]},
    "exponential_moving_average": {"ema_momentum": 0.9},
    "parameter_wise_lr": {"paramwise_lr_schedule": {"tokens": 0.1}},
}


def extended(names, base=optimizers.Adam):
    """Returns the function that makes an optimizer, and its arguments."""
    arguments = {}
    for name in names:
        base = getattr(optimizers, f"extend_with_{name}")(base, name=name)
        arguments |= EXTENSIONS[name]
    return base, arguments


def train(optimizer, steps=4):
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(5, 4, name="tokens"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, name="head"),
        ]
    )
    model.compile(optimizer, "mse")
    before = model.get_weights()
    x = np.array([[1, 2, 1]] * steps, "int32")
    model.fit(x, np.ones((steps, 1)), batch_size=1, verbose=0)
    return model, before


def test_every_name_is_there():
    for name in optimizers.__all__:
        assert hasattr(optimizers, name), name


@pytest.mark.parametrize("name", EXTENSIONS)
def test_each_extension_trains_and_has_a_config(name):
    make, arguments = extended([name])
    assert make.__name__ == name
    optimizer = make(learning_rate=0.1, **arguments)
    model, before = train(optimizer)
    moved = [
        np.abs(a - b).max() > 0
        for a, b in zip(model.get_weights(), before, strict=True)
    ]
    assert all(moved)
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(config))
    )
    assert type(again) is type(optimizer)
    assert keras.saving.serialize_keras_object(again) == config


def test_all_extensions_at_once():
    make, arguments = extended([*EXTENSIONS])
    optimizer = make(0.1, **arguments)
    train(optimizer)
    kinds, inner = [], optimizer
    while True:
        kinds.append(type(inner))
        if not hasattr(inner, "inner_optimizer"):
            break
        inner = inner.inner_optimizer
    assert kinds == [
        ours.LearningRateMultipliers,
        MovingAverage,
        ours.LazyOptimizer,
        ours.Lookahead,
        LayerAdaptation,
        ours.ExcludeFromWeightDecay,
        optimizers.Adam,
    ]
    assert inner.weight_decay == 0.01
    assert inner.gradient_accumulation_steps == 2
    assert optimizer.learning_rate is not None


def test_arguments_reach_the_optimizers():
    make, arguments = extended(["piecewise_linear_lr"])
    optimizer = make(learning_rate=0.1, beta_1=0.8, **arguments)
    assert optimizer.beta_1 == 0.8
    assert float(optimizer.learning_rate) == 0.0  # at step 0
    train(optimizer)
    np.testing.assert_allclose(float(optimizer.learning_rate), 0.01, rtol=1e-5)
    make, arguments = extended(["lookahead"])
    optimizer = make(**arguments)
    assert (optimizer.sync_period, optimizer.slow_step_size) == (3, 0.4)


@pytest.mark.parametrize("name", ["lazy_optimization", "parameter_wise_lr"])
def test_without_names_the_optimizer_is_unchanged(name):
    make, _ = extended([name])
    assert type(make(0.1)) is optimizers.Adam


@pytest.mark.parametrize("correction", [True, False])
def test_steps_of_adam(correction):
    optimizer = optimizers.Adam(0.1, epsilon=0.03, bias_correction=correction)
    w = keras.Variable(normal(3, 2))
    expected, m, v = to_numpy(w), 0.0, 0.0
    for t in range(1, 4):
        g = normal(3, 2) * t
        optimizer.apply([keras.ops.convert_to_tensor(g)], [w])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        a, b = (1 - 0.9**t, 1 - 0.999**t) if correction else (1, 1)
        expected = expected - 0.1 * (m / a) / (np.sqrt(v / b) + 0.03)
    np.testing.assert_allclose(to_numpy(w), expected, rtol=1e-4)


def test_other_optimizers():
    assert float(optimizers.Adam(lr=0.5).learning_rate) == 0.5
    lion = optimizers.Lion()
    assert (lion.beta_1, lion.beta_2) == (0.95, 0.98)
    assert optimizers.AdaFactor().relative_step is False
    free = optimizers.AdaFactor(None, epsilon2=0.1)
    assert free.relative_step and free.epsilon_2 == 0.1
    for optimizer in (lion, free):
        train(optimizer)
