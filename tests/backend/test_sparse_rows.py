"""Sums of rows, and views: on TensorFlow against dense gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.sparse_rows import (
    RowView,
    choose_rows,
    densify,
    is_sparse,
    map_values,
    sum_rows,
)
from tests.optimizers.sparse import BACKEND, gradient, summed, to_numpy

only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="gradients are dense on other backends"
)
IDS = [4, 0, 4, 9, 0, 4]
VALUES = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
WHOLE = summed(IDS, VALUES)


@only_tensorflow
def test_each_row_comes_once_with_its_sum():
    result = sum_rows(gradient(IDS, VALUES))
    assert result.indices.numpy().tolist() == [4, 0, 9, 9, 9, 9]
    np.testing.assert_allclose(result.values[:3], WHOLE[[4, 0, 9]], atol=1e-6)
    np.testing.assert_array_equal(result.values[3:], np.zeros((3, 3)))
    np.testing.assert_allclose(densify(result), WHOLE, atol=1e-6)
    assert sum_rows(result) is result  # once is enough


@only_tensorflow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_left_over_slices_do_not_hide_an_overflow(wrong, jit):
    """Keras' `isfinite` keeps the last slice of a row."""
    import tensorflow as tf

    @tf.function(jit_compile=jit)
    def run(values):
        slices = tf.IndexedSlices(values, tf.constant(IDS), (11, 3))
        return ops.isfinite(sum_rows(slices)), densify(sum_rows(slices))

    for place, row in zip((3, 1, 2), (9, 0, 4), strict=True):
        values = VALUES.copy()
        values[place, 1] = wrong
        finite, whole = run(values)
        assert np.argwhere(~finite.numpy()).tolist() == [[row, 1]]
        assert np.argwhere(~np.isfinite(whole)).tolist() == [[row, 1]]


@only_tensorflow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("ids", [[], [3], [3, 3, 3], [7, 1], [10, 0, 10]])
def test_sums_in_a_graph(ids, jit):
    import tensorflow as tf

    @tf.function(jit_compile=jit)
    def run(ids, values):
        slices = tf.IndexedSlices(values, ids, tf.constant([11, 3]))
        rows, g, touched = choose_rows(sum_rows(slices), True)
        return rows, g, touched

    ids = np.array(ids, "int64")
    values = VALUES[: len(ids)]
    rows, g, touched = run(tf.constant(ids), tf.constant(values))
    assert sorted({*rows.numpy()}) == sorted({*ids})
    np.testing.assert_allclose(g, summed(ids, values)[rows.numpy()], atol=1e-6)
    assert touched.numpy().all() and len(rows) == len(ids)


@only_tensorflow
def test_indices_that_are_no_rows_are_added_to_none():
    """XLA clips them where it reads, and drops them where it writes."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def run(ids, values):
        shape = tf.constant([11, 3])
        return densify(sum_rows(tf.IndexedSlices(values, ids, shape)))

    ids = np.array([4, -1, 4, 11, 10, -1], "int32")
    kept = [0, 2, 4]
    np.testing.assert_allclose(
        run(ids, VALUES), summed(ids[kept], VALUES[kept]), atol=1e-6
    )


@only_tensorflow
def test_a_compiled_sum_contains_no_sort():
    """With one, XLA for CPUs compiles all of a step to slow code."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def run(ids, values):
        shape = tf.constant([11, 3])
        return densify(sum_rows(tf.IndexedSlices(values, ids, shape)))

    ids = np.array(IDS, "int32")
    text = run.experimental_get_compiler_ir(ids, VALUES)(stage="hlo")
    assert " scatter(" in text and " sort(" not in text


@only_tensorflow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("high", [5, 700, 2**31 - 1])
def test_sums_of_many_rows(high, jit):
    import tensorflow as tf

    random = np.random.default_rng(high)
    ids = random.integers(high, size=1000, dtype="int32")
    values = random.normal(size=(1000, 2)).astype("float32")

    @tf.function(jit_compile=jit)
    def run(ids, values):
        slices = tf.IndexedSlices(values, ids, tf.constant([high, 2]))
        result = sum_rows(slices)
        return result.values, result.indices

    sums, rows = run(ids, values)
    _, places, inverse = np.unique(ids, return_index=True, return_inverse=True)
    n = len(places)
    expected = np.zeros((n, 2))
    np.add.at(expected, inverse, values.astype("float64"))
    order = np.argsort(places)  # rows come in the order of their first slices
    np.testing.assert_array_equal(rows[:n], ids[np.sort(places)])
    np.testing.assert_array_equal(rows[n:], rows[n - 1])
    np.testing.assert_allclose(sums[:n], expected[order], atol=1e-4)
    np.testing.assert_array_equal(sums[n:], 0)


@only_tensorflow
def test_sums_where_the_number_of_ids_is_not_known():
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), "int32"),
            tf.TensorSpec((None, 3), "float32"),
        ]
    )
    def run(ids, values):
        shape = tf.constant([11, 3])
        return densify(sum_rows(tf.IndexedSlices(values, ids, shape)))

    np.testing.assert_allclose(run(IDS, VALUES), WHOLE, atol=1e-6)
    np.testing.assert_allclose(
        run(IDS[:4], VALUES[:4]), summed(IDS[:4], VALUES[:4])
    )


def test_a_row_is_touched_if_its_sum_is_not_zero():
    values = np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, np.nan]])
    ids = [1, 2, 1, 3]
    rows, g, touched = choose_rows(sum_rows(gradient(ids, values)), True)
    if BACKEND == "tensorflow":
        assert to_numpy(rows).tolist() == [1, 2, 3, 3]
        assert to_numpy(touched).tolist() == [False, True, True, True]
    elif BACKEND == "torch":
        assert to_numpy(rows).tolist() == [2, 3] and touched is None
        np.testing.assert_array_equal(to_numpy(g), values[[1, 3]])
    else:
        assert rows is None
        assert to_numpy(touched).nonzero()[0].tolist() == [2, 3]


def test_all_rows_if_wanted():
    rows, g, touched = choose_rows(sum_rows(gradient(IDS, VALUES)), False)
    assert rows is None
    np.testing.assert_allclose(to_numpy(g), WHOLE, atol=1e-6)
    assert to_numpy(touched).nonzero()[0].tolist() == [0, 4, 9]


def test_dense_gradients_stay():
    dense = ops.ones((3, 2))
    assert sum_rows(dense) is dense and densify(dense) is dense
    assert sum_rows(None) is None
    assert not is_sparse(dense)
    assert is_sparse(gradient(IDS, VALUES)) == (BACKEND == "tensorflow")


def test_functions_see_the_values_and_gradients_stay_sparse():
    mapped = map_values(
        lambda values: [v * 2 for v in values],
        [sum_rows(gradient(IDS, VALUES)), ops.ones(3)],
    )
    assert is_sparse(mapped[0]) == (BACKEND == "tensorflow")
    assert sum_rows(mapped[0]) is mapped[0]  # still summed
    np.testing.assert_allclose(
        to_numpy(densify(mapped[0])), 2 * WHOLE, atol=1e-6
    )
    np.testing.assert_array_equal(to_numpy(mapped[1]), [2, 2, 2])


def variable():
    start = np.arange(12.0, dtype="float32").reshape(4, 3)
    start[0, 0] = -0.0
    return keras.Variable(start, name="x"), start


def test_view_of_all_rows_changes_nothing_until_written():
    x, start = variable()
    view = RowView(x)
    assert (view.name, view.path, view.dtype) == ("x", x.path, "float32")
    assert tuple(view.shape) == (4, 3) and view.ndim == 2
    view.assign_add(ops.ones((4, 3)))
    view.assign_sub(2 * view.value)
    view.assign(ops.multiply(view, 3) + view)
    np.testing.assert_array_equal(to_numpy(x), start)
    np.testing.assert_array_equal(to_numpy(view.value), -4 * (start + 1))
    view.write(ops.array([False, True, False, True]))
    got = to_numpy(x)
    np.testing.assert_array_equal(got[[1, 3]], -4 * (start + 1)[[1, 3]])
    np.testing.assert_array_equal(got[[0, 2]], start[[0, 2]])
    assert np.signbit(got[0, 0])  # to the bit


@pytest.mark.skipif(BACKEND == "jax", reason="JAX steps all rows")
def test_view_of_some_rows():
    x, start = variable()
    view = RowView(x, ops.array([2, 0], "int32"))
    assert tuple(view.shape) == (2, 3)
    view.assign_add(ops.ones((2, 3)))
    np.testing.assert_array_equal(to_numpy(x), start)
    view.write()
    np.testing.assert_array_equal(to_numpy(x)[[2, 0]], start[[2, 0]] + 1)
    np.testing.assert_array_equal(to_numpy(x)[[1, 3]], start[[1, 3]])
    view = RowView(x, ops.array([2, 0], "int32"))
    view.assign_add(ops.ones((2, 3)))
    view.write(ops.array([True, False]))
    np.testing.assert_array_equal(to_numpy(x)[2], start[2] + 2)
    np.testing.assert_array_equal(to_numpy(x)[0], start[0] + 1)
