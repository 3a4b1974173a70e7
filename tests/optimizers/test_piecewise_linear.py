"""Article: https://kexue.fm/archives/7094"""

import json

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD

from su_models.optimizers import PiecewiseLinear
from tests.optimizers.sparse import JITS, near, to_numpy


@pytest.mark.parametrize(
    "schedule",
    [
        {1000: 1, 20000: 0.1},
        {0: 1},
        {0: 0.5, 10: 0},
        {7: 2.0},
        [(30, 0.2), (10, 1.0), (20, 1.0)],
        {"5": 1, "1000000000": 0},
    ],
)
def test_is_linear_between_the_points_and_constant_after(schedule):
    points = sorted((int(t), x) for t, x in dict(schedule).items())
    xs, ys = zip(*([(0, 0.0)] if points[0][0] else []), *points, strict=False)
    steps = np.array([0, 1, 5, 9, 10, 11, 25, 999, 1000, 1001, 10500, 20001])
    got = PiecewiseLinear(schedule, 3.0)(ops.array(steps, "int32"))
    np.testing.assert_allclose(
        to_numpy(got), 3 * np.interp(steps, xs, ys), rtol=1e-5, atol=1e-7
    )


def test_the_points_are_met_exactly():
    rate = PiecewiseLinear({3: 0.1, 7: 0.3, 10: 0.2})
    got = [to_numpy(rate(t)) for t in (3, 7, 10, 11)]
    np.testing.assert_array_equal(got, np.float32([0.1, 0.3, 0.2, 0.2]))


@pytest.mark.parametrize("jit", JITS)
def test_in_fit_it_counts_from_zero(jit):
    """Rates 0, 1/4, 1/2, 3/4, 1, 1: the first update changes nothing."""
    inputs = keras.Input((1,))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Model(inputs, dense(inputs))
    rate = PiecewiseLinear({4: 1}, 0.01)
    # the gradient of the mean of y is 1 at each step
    model.compile(SGD(rate), lambda _, y: ops.mean(y), jit_compile=jit)
    x = np.ones((6, 1))
    model.fit(x[:1], x[:1], batch_size=1, verbose=0)
    near([dense.kernel], [[[0.0]]], atol=0)
    model.fit(x[1:], x[1:], batch_size=1, verbose=0)
    near([dense.kernel], [[[-0.01 * 3.5]]])


def test_config_goes_through_json():
    rate = PiecewiseLinear({20: 0.5, 1000: 1}, 1e-3)
    config = json.loads(json.dumps(rate.get_config()))
    again = PiecewiseLinear.from_config(config)
    assert again.get_config() == rate.get_config()
    packed = keras.optimizers.schedules.serialize(rate)
    unpacked = keras.optimizers.schedules.deserialize(packed)
    near([unpacked(15)], [to_numpy(rate(15))], atol=0)


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        [],
        None,
        3,
        "1000",
        {-1: 1},
        {1.5: 1},
        {True: 1},
        {10: -1},
        {10: "1"},
        {10: None},
        {10: float("inf")},
        [(1, 2, 3)],
        [1, 2],
        [(5, 1), (5, 2)],
        {"a": 1},
    ],
)
def test_a_schedule_is_numbers_by_step(schedule):
    with pytest.raises(ValueError, match="Received: schedule="):
        PiecewiseLinear(schedule)


@pytest.mark.parametrize("rate", [0, -1.0, None, "1", float("nan"), True])
def test_learning_rate_is_a_positive_number(rate):
    with pytest.raises(ValueError, match="Received: learning_rate="):
        PiecewiseLinear({10: 1}, rate)
