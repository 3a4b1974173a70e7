"""Train steps whose optimizer sees each row of a table once."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from su_models.backend.summing import summing
from tests.optimizers.sparse import BACKEND, DIM, ROWS, START, to_numpy

IDS = np.array([[2, 2, 2, 5], [2, 5, 0, 0]], "int32")
JITS = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]


class Summing(keras.Model):
    def train_step(self, *args):
        return keras.Model.train_step(summing(self), *args)


def lookup(cls, optimizer, jit, scale=1.0):
    """The sum of all look-ups, times a scale: so is its gradient."""
    ids = keras.Input((4,), dtype="int32")
    rows = layers.Embedding(ROWS, DIM, name="tokens")(ids)
    total = ops.sum(rows, axis=(1, 2))[:, None]
    model = cls(ids, scale * total)
    model.set_weights([START])
    model.compile(
        optimizer,
        lambda y, y_pred: ops.mean(y_pred, axis=-1),
        metrics=["mae"],
        jit_compile=jit,
    )
    return model


@pytest.mark.parametrize("jit", JITS)
def test_adam_steps_along_the_sum(jit):
    """Its first step is the learning rate along each number, whatever g."""
    adam = keras.optimizers.Adam(0.5, epsilon=1e-12)
    model = lookup(Summing, adam, jit)
    log = model.train_on_batch(IDS, np.zeros((2, 1)), return_dict=True)
    if BACKEND == "jax":
        model.jax_state_sync()
    assert {*log} == {"loss", "mae"}
    moved = START - to_numpy(model.trainable_variables[0])
    expected = np.zeros((ROWS, DIM))
    expected[[0, 2, 5]] = 0.5
    np.testing.assert_allclose(moved, expected, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others sum by themselves")
def test_without_it_the_step_is_longer():
    adam = keras.optimizers.Adam(0.5, epsilon=1e-12)
    model = lookup(keras.Model, adam, False)
    model.train_on_batch(IDS, np.zeros((2, 1)))
    moved = (START - to_numpy(model.trainable_variables[0]))[[0, 2, 5], 0]
    times = np.array([2, 4, 2])
    np.testing.assert_allclose(moved, 0.5 * times**0.5, rtol=1e-4)


@pytest.mark.parametrize("jit", JITS)
def test_loss_scaling_sees_an_overflow_in_any_slice(jit):
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.5), initial_scale=4.0
    )
    # the gradient of a slice is 1e38 times the scale; their sum overflows
    model = lookup(Summing, optimizer, jit, scale=1e38)
    model.train_on_batch(IDS, np.zeros((2, 1)))
    if BACKEND == "jax":
        model.jax_state_sync()
    np.testing.assert_array_equal(to_numpy(model.trainable_variables[0]), START)
    assert float(to_numpy(optimizer.dynamic_scale)) == 2.0


@pytest.mark.skipif(BACKEND == "tensorflow", reason="there it is a stand-in")
def test_elsewhere_it_is_the_model():
    model = keras.Sequential([layers.Dense(1)])
    assert summing(model) is model
