"""A row taken twice has the gradient of both times, before any optimizer."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import gradient
from su_models.backend.compile import compiled
from su_models.backend.take_rows import take_rows
from tests.contract import JIT, normal, to_numpy


def test_rows_are_taken():
    table, indices = normal(5, 3), np.array([[0, 4, 4], [2, 0, 1]])
    np.testing.assert_array_equal(
        to_numpy(take_rows(table, indices)), table[indices]
    )


@pytest.mark.parametrize("bad", [-1, 5, 2**32])
def test_a_row_that_does_not_exist_is_an_error(bad):
    words = f"`labels` must be .* 0 to 4. Received: labels with {bad}"
    with pytest.raises(ValueError, match=words):
        take_rows(normal(5, 3), np.array([0, bad]), "labels")


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
def test_a_row_that_does_not_exist_is_nan_when_compiled():
    table, indices = normal(5, 3), np.array([[0, 4], [-1, 5]], "int32")
    rows = to_numpy(compiled(take_rows)(table, indices))
    np.testing.assert_array_equal(rows[0], table[[0, 4]])
    assert np.isnan(rows[1]).all()


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
def test_a_row_that_does_not_exist_moves_no_row():
    def slope(table, indices):
        def taken(table):
            rows = take_rows(table, indices)
            return ops.sum(ops.where(ops.isnan(rows), 0.0, rows))

        return gradient(taken, table)

    got = compiled(slope)(normal(3, 2), np.array([0, 2, 2, 7, -1], "int32"))
    np.testing.assert_array_equal(to_numpy(got), [[1, 1], [0, 0], [2, 2]])


def test_trusted_indices_are_not_looked_at():
    rows = take_rows(normal(5, 3), np.array([0, 4]), check=False)
    np.testing.assert_array_equal(to_numpy(rows), normal(5, 3)[[0, 4]])


def test_a_table_of_integers_is_refused():
    with pytest.raises(ValueError, match="Received: table of int32"):
        take_rows(ops.ones((3, 2), "int32"), np.array([0]))


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
