"""What a step of a sampler is given."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.random import seed_words
from su_models.sampling.step import Network, Step
from tests.contract import normal, to_numpy

TIMES = np.array([7, 4, 2], "int32")
TABLE = np.arange(6, dtype="float32").reshape(3, 2)


def step(fn, index):
    network = Network(fn)
    times = ops.convert_to_tensor(TIMES)
    rows = [times, *network.rows(times)]
    table = ops.convert_to_tensor(TABLE)
    return Step(index, network, rows, table, lambda *n: seed_words(*n))


def moved(x, t):
    return ops.add(x, ops.cast(t, "float32")[:, None])


def model():
    x, t = keras.Input((3,)), keras.Input((), dtype="int32")
    shift = keras.layers.Embedding(9, 3)(t)
    return keras.Model([x, t], keras.layers.Add()([x, shift]))


def test_numbers_of_a_step_are_its_own():
    now = step(moved, 1)
    assert int(now.time) == 4
    np.testing.assert_array_equal(to_numpy(now.row), TABLE[1])


def test_network_is_asked_at_this_step_at_another_and_in_between():
    now, x = step(moved, 1), normal(2, 3)
    np.testing.assert_allclose(to_numpy(now.predict(x)), x + 4)
    np.testing.assert_allclose(to_numpy(now.predict(x, 2)), x + 2)
    time = ops.convert_to_tensor(5, "int32")
    np.testing.assert_allclose(to_numpy(now.predict_at(x, time)), x + 5)


def test_model_is_asked_as_a_function_is():
    net, x = model(), ops.convert_to_tensor(normal(2, 3))
    now = step(net, 0)
    for index, t in ((None, 7), (2, 2)):
        expected = to_numpy(net([x, ops.full((2,), t, "int32")]))
        np.testing.assert_allclose(
            to_numpy(now.predict(x, index)), expected, rtol=1e-6
        )
        at = now.predict_at(x, ops.convert_to_tensor(t, "int32"))
        np.testing.assert_allclose(to_numpy(at), expected, rtol=1e-6)


def test_model_of_the_particles_alone_is_not_told_the_time():
    inputs = keras.Input((3,))
    net = keras.Model(inputs, ops.negative(inputs))
    now, x = step(net, 0), normal(2, 3)
    np.testing.assert_array_equal(to_numpy(now.predict(x)), -x)
    time = ops.convert_to_tensor(5, "int32")
    np.testing.assert_array_equal(to_numpy(now.predict_at(x, time)), -x)


def test_noise_is_the_same_for_the_same_number():
    now, x = step(moved, 1), ops.zeros((500,))
    first, second = to_numpy(now.noise(x)), to_numpy(now.noise(x, 1))
    np.testing.assert_array_equal(to_numpy(now.noise(x)), first)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
    assert (to_numpy(step(moved, 2).noise(x)) != first).any()


def test_prediction_of_another_shape_is_refused():
    now, x = step(lambda x, t: x[:1], 0), normal(2, 3)
    time = ops.convert_to_tensor(5, "int32")
    for ask in (now.predict, lambda x: now.predict_at(x, time)):
        with pytest.raises(ValueError, match=r"shape of .*shape=\(1, 3\)"):
            ask(x)
