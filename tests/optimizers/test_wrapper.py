"""What all wrappers inherit; each class has its own tests of what it adds."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam

from su_models.optimizers.wrapper import _OptimizerWrapper
from tests.optimizers.sparse import JITS, fit, lookup, near, to_numpy


@keras.saving.register_keras_serializable(package="tests")
class Same(_OptimizerWrapper):
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
