"""`RecordingScope`: what happened to the variables inside."""

import keras
import numpy as np
from keras import ops

from su_models.backend import RecordingScope


def number(x):
    return float(ops.convert_to_numpy(x))


def test_variables_keep_their_values():
    x = keras.Variable(1.0)
    with RecordingScope() as scope:
        x.assign(5.0)
        assert number(x) == 5.0
    assert number(x) == 1.0
    ((variable, value),) = scope.changes()
    assert variable is x and number(value) == 5.0


def test_reads_of_mapped_variables_are_not_told():
    x, y = keras.Variable(1.0), keras.Variable(2.0)
    with RecordingScope([(x, ops.convert_to_tensor(7.0))]) as scope:
        assert number(x + y) == 9.0
    assert list(scope.read.values()) == [y]
    assert scope.changes() == []


def test_values_of_an_enclosing_scope_are_seen():
    x, y = keras.Variable(1.0), keras.Variable(2.0)
    with RecordingScope([(x, ops.convert_to_tensor(7.0))]) as outer:
        with RecordingScope() as inner:
            assert number(x + y) == 9.0
            x.assign(8.0)
        assert number(x) == 7.0
    assert list(inner.read.values()) == [x, y]
    assert list(outer.read.values()) == [y]
    assert outer.changes() == []


def test_losses_end_with_the_scope():
    layer = keras.layers.Dense(2, activity_regularizer=keras.regularizers.L2(1))
    layer.build((None, 3))
    with RecordingScope():
        y = layer(np.ones((4, 3), "float32"))
        (loss,) = layer.losses
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss),
        ops.convert_to_numpy(ops.sum(y**2)) / 4,
        1e-5,
    )
    assert layer.losses == []
