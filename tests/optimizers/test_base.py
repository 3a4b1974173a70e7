"""What all wrappers inherit; each class has its own tests of what it adds."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam

from su_models import optimizers
from su_models.optimizers.base import OptimizerWrapper
from tests.optimizers.sparse import JITS, fit, lookup, near, to_numpy


@keras.saving.register_keras_serializable(package="tests")
class Same(OptimizerWrapper):
    """Adds nothing."""


@pytest.mark.parametrize("jit", JITS)
def test_it_is_the_inner_optimizer(jit):
    near([fit(lookup(Same(Adam(0.1)), jit))], [fit(lookup(Adam(0.1), jit))])


def test_everything_is_that_of_the_inner_optimizer():
    x, inner = keras.Variable([1.0, 2.0], name="x"), SGD(0.1, momentum=0.5)
    outer = Same(Same(inner))
    outer.exclude_from_weight_decay(var_names=["x"])
    outer.apply([ops.ones(2)], [x])
    assert not inner._use_weight_decay(x)
    assert int(to_numpy(outer.iterations)) == 1
    outer.learning_rate = 0.25
    outer.loss_scale_factor = 8.0
    near([inner.learning_rate, outer.learning_rate], [0.25, 0.25])
    assert inner.loss_scale_factor == outer.loss_scale_factor == 8.0
    near([outer.scale_loss(3.0)], [24.0])
    names = [v.path for v in outer.variables]
    assert names[-len(inner.variables) :] == [v.path for v in inner.variables]


def test_averages_are_put_in_place_at_the_end():
    x = keras.Variable([0.0])
    optimizer = Same(SGD(1.0, use_ema=True, ema_momentum=0.5))
    for _ in range(2):
        optimizer.apply([ops.ones(1)], [x])
    optimizer.finalize_variable_values([x])
    near([x], [[-1.5]])


def test_config_is_name_and_inner_optimizer():
    optimizer = Same(Adam(0.1, clipnorm=1.0), name="mine")
    config = json.loads(json.dumps(optimizer.get_config()))
    assert {*config} == {"name", "optimizer"}
    again = Same.from_config(config)
    assert again.get_config() == config and again.name == "mine"


def test_weights_are_those_of_all_variables():
    x, optimizer = keras.Variable([1.0, 2.0]), Same(SGD(0.1, momentum=0.5))
    with pytest.raises(ValueError, match="built=False"):
        optimizer.set_weights([])
    optimizer.apply([ops.ones(2)], [x])
    weights = [np.ones(v.shape) for v in optimizer.variables]
    with pytest.raises(ValueError, match="Received: shapes"):
        optimizer.set_weights(weights[:-1])
    optimizer.set_weights(weights)
    near(optimizer.variables, weights, atol=0)


def test_an_optimizer_of_other_variables_is_refused():
    x, y = keras.Variable(1.0, name="x"), keras.Variable(1.0, name="y")
    inner = SGD()
    inner.build([x])
    with pytest.raises(ValueError, match=r"Received: an optimizer of \['x'\]"):
        Same(inner).build([y])
    with pytest.raises(ValueError, match="Received: trainable_variables=None"):
        Same(SGD()).apply([ops.ones(())])


@pytest.mark.parametrize("optimizer", ["adam", None, SGD])
def test_inner_optimizer_must_be_an_instance(optimizer):
    with pytest.raises(ValueError, match="Received: optimizer="):
        Same(optimizer)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"learning_rate": 0.1},
        {"weight_decay": None},
        {"use_ema": True},
        {"gradient_accumulation_steps": 2},
        {"alpha": 0.5},
    ],
)
def test_other_arguments_are_refused(kwargs):
    (name,) = kwargs
    with pytest.raises(ValueError, match=f"Received: {name}="):
        Same(SGD(), **kwargs)


def test_loss_scaling_belongs_outside():
    with pytest.raises(ValueError, match=r"LossScaleOptimizer\(Same"):
        Same(keras.optimizers.LossScaleOptimizer(SGD()))


# ---- what Keras and callbacks read


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_arguments_are_answered_by_the_innermost(depth):
    arguments = {
        "weight_decay": 0.1,
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 2,
        "momentum": 0.25,  # of SGD alone
    }
    inner = optimizer = SGD(0.5, **arguments)
    for _ in range(depth):
        optimizer = Same(optimizer)
    x = keras.Variable([1.0, 2.0])
    for _ in range(2):  # before it is built, and after
        for name, value in arguments.items():
            assert getattr(optimizer, name) == value, name
        assert optimizer.clipnorm is None and optimizer.clipvalue is None
        assert not hasattr(optimizer, "beta_1")
        optimizer.apply([ops.ones(2)], [x])
    optimizer.weight_decay = 0.2
    optimizer.ema_overwrite_frequency = None
    assert inner.weight_decay == 0.2 and inner.ema_overwrite_frequency is None


def test_a_wrapper_makes_no_averages_or_accumulators_of_its_own():
    inner = SGD(0.5, use_ema=True, gradient_accumulation_steps=2)
    optimizer = Same(Same(inner))
    optimizer.build([keras.Variable([1.0, 2.0])])
    own = len(Same(SGD()).variables) - len(SGD().variables)
    assert len(optimizer.variables) == len(inner.variables) + 2 * own


def test_averages_are_in_the_order_of_the_variables():
    x, y = keras.Variable([1.0], name="x"), keras.Variable([1.0], name="y")
    inner = SGD(1.0, use_ema=True, ema_momentum=0.5)
    inner.build([y, x])
    optimizer = Same(Same(inner))
    assert not hasattr(Same(SGD()), "_model_variables_moving_average")
    for _ in range(2):
        optimizer.apply([ops.ones(1), 2 * ops.ones(1)], [x, y])
    near(optimizer._model_variables_moving_average, [[-0.5], [-2.0]])


def around(cls):
    """How each wrapper is put around an optimizer of a layer "dense"."""
    arguments = {
        optimizers.ExcludeFromWeightDecay: {"exclude": ["bias"]},
        optimizers.LearningRateMultipliers: {"multipliers": {"dense": 0.5}},
    }
    return lambda optimizer: cls(optimizer, **arguments.get(cls, {}))


WRAPPERS = [
    getattr(optimizers, name)
    for name in optimizers.__all__
    if issubclass(getattr(optimizers, name), OptimizerWrapper)
]


@pytest.mark.parametrize("cls", WRAPPERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_averages_are_swapped_under_two_wrappers(cls, policy):
    """As docs/extend_with.md advises."""
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((3,))
        dense = keras.layers.Dense(
            1, kernel_initializer="zeros", dtype="float32", name="dense"
        )
        model = keras.Model(inputs, dense(inputs))
        inner = Adam(0.1, use_ema=True, ema_momentum=0.5)
        model.compile(Same(around(cls)(inner)), "mse", jit_compile=False)
    finally:
        keras.config.set_dtype_policy(before)
    seen = []

    class See(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(to_numpy(dense.kernel).copy())

        def on_test_end(self, logs=None):
            seen.append(to_numpy(dense.kernel).copy())

    model.fit(
        x,
        y,
        epochs=3,
        validation_data=(x, y),
        callbacks=[keras.callbacks.SwapEMAWeights(), See()],
        verbose=0,
    )
    weights, average = [], None
    for tested, trained in zip(seen[::2], seen[1::2], strict=True):
        # it is validated with the average, and training goes on with weights
        average = trained if average is None else (average + trained) / 2
        np.testing.assert_allclose(tested, average, atol=1e-6)
        weights.append(trained.mean())
    assert (np.diff(weights) > 0).all()
    np.testing.assert_allclose(to_numpy(dense.kernel), average, atol=1e-6)


def test_callbacks_find_the_members_of_a_multi_optimizer():
    choice = keras.optimizers.OptimizerMap(SGD(0.2), {"y": SGD(0.4)})
    optimizer = Same(Same(keras.optimizers.MultiOptimizer(choice)))
    near([o.learning_rate for o in optimizer.optimizers], [0.4, 0.2])


# ---- refusals


@pytest.mark.parametrize("cls", WRAPPERS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_variable_needs_its_gradient(cls, count):
    x = keras.Variable([1.0], name="dense")
    y = keras.Variable([1.0], name="bias")
    optimizer = around(cls)(SGD(0.5))
    optimizer.build([x, y])
    grads = [ops.ones(1)] * count
    for variables in (None, [x, y]):
        with pytest.raises(ValueError, match=f"Received: {count} gradients"):
            optimizer.apply(grads, variables)
    near([x, y], [[1.0], [1.0]], atol=0)
