"""`assign_if`: assignments that depend on a tensor."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import assign_if, compiled
from tests.contract import normal, to_numpy


def new():
    x, y = keras.Variable(normal(3)), keras.Variable(normal(2, 3))
    return x, y, lambda: [(x, y[0] + x), (y, y * x)]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("condition", [False, True])
def test_assigns_if_the_condition_is_true(condition, jit):
    x, y, pairs = new()
    before, expected = (
        [normal(3), normal(2, 3)],
        [to_numpy(v) for _, v in pairs()],
    )

    def fn(condition):
        assign_if(condition, pairs)

    (compiled(fn) if jit else fn)(ops.convert_to_tensor(condition))
    for v, want in zip((x, y), expected if condition else before, strict=True):
        np.testing.assert_allclose(to_numpy(v), want, rtol=1e-6)


def test_the_condition_is_seen_at_every_call():
    x = keras.Variable(0.0)
    program = compiled(lambda c: assign_if(c, lambda: [(x, x + 1.0)]))
    for condition in (True, False, False, True, True):
        program(condition)
    assert to_numpy(x) == 3.0


def test_a_false_condition_leaves_a_variable_alone_whatever_the_value():
    x = keras.Variable(normal(3))
    assign_if(ops.convert_to_tensor(False), lambda: [(x, x * np.nan)])
    np.testing.assert_array_equal(to_numpy(x), normal(3))
