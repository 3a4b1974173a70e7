"""A row taken twice has the gradient of both times, before any optimizer."""

import keras
import numpy as np
from keras import ops

from su_models.backend.take_rows import take_rows
from tests.contract import JIT, normal, to_numpy


def test_rows_are_taken():
    table, indices = normal(5, 3), np.array([[0, 4, 4], [2, 0, 1]])
    np.testing.assert_array_equal(
        to_numpy(take_rows(table, indices)), table[indices]
    )


class Rows(keras.layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(4, 1), initializer="zeros")

    def call(self, indices):
        return ops.sum(take_rows(self.table, indices), axis=1)


def test_adam_moves_a_repeated_row_as_any_other():
    rows = Rows()
    net = keras.Sequential([keras.Input((3,), dtype="int32"), rows])
    net.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=JIT)
    net.fit(np.array([[2, 2, 1]]), np.array([[5.0]]), verbose=0)
    moved = to_numpy(rows.table)[:, 0]  # Adam's first step: the rate itself
    np.testing.assert_allclose(moved, [0, 0.1, 0.1, 0], atol=1e-5)
