"""An index that does not exist is an error, or NaN: never another index."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.compile import compiled
from su_models.backend.indices import (
    check_indices,
    nan_outside,
    slice_at,
    update_slice,
)
from tests.contract import JIT, normal, to_numpy

DTYPES = ["uint8", "int16", "int32", "int64", "float32", "float16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [np.array, ops.convert_to_tensor])
def test_known_indices_in_range_stay(dtype, make):
    if keras.backend.backend() == "jax" and "64" in dtype:
        make = np.array  # its tensors are of 32 bits
    given = make(np.array([[1, 4], [2, 1]], dtype))
    indices, inside = check_indices("steps", given, 4, first=1)
    assert inside is None
    assert keras.backend.standardize_dtype(indices.dtype) == "int32"
    np.testing.assert_array_equal(to_numpy(indices), [[1, 4], [2, 1]])


def test_numbers_lists_and_nothing_are_indices_too():
    for given in (2, np.int64(2), [0, 2], (1,), np.zeros((0, 3), "int32")):
        indices, _ = check_indices("labels", given, 3)
        np.testing.assert_array_equal(to_numpy(indices), given)


@pytest.mark.parametrize("bad", [-1, 3, -100, 2**31, 2**32, 2**32 + 1])
def test_known_indices_out_of_range_are_refused(bad):
    words = rf"`labels` must be .* 0 to 2. Received: labels with {bad}$"
    for given in (bad, [0, bad], np.array([bad, 1])):
        with pytest.raises(ValueError, match=words):
            check_indices("labels", given, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.5])
def test_floats_that_are_no_integers_are_refused(bad):
    with pytest.raises(ValueError, match="Received: labels with"):
        check_indices("labels", np.array([1.0, bad], "float32"), 3)


def test_the_range_begins_at_first():
    with pytest.raises(ValueError, match="1 to 4. Received: steps with 0, 5"):
        check_indices("steps", np.array([0, 1, 4, 5]), 4, first=1)


def looked_up(given, size=3, first=0):
    """Returns the indices and `inside` of what has no value: compiled."""

    def fn(x):
        indices, inside = check_indices("labels", x, size, first)
        inside = True if inside is None else inside
        return indices, ops.logical_and(inside, ops.ones_like(indices, "bool"))

    return [to_numpy(x) for x in compiled(fn)(given)]


@pytest.mark.skipif(not JIT, reason="PyTorch always knows")
@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "bfloat16"])
def test_traced_indices_out_of_range_are_replaced(dtype):
    given = np.array([1, 4, 0, 5, 127], "int32")
    if not (keras.backend.backend() == "jax" and "64" in dtype):
        given = ops.cast(given, dtype)
    indices, inside = looked_up(given, size=4, first=1)
    np.testing.assert_array_equal(indices, [1, 4, 1, 1, 1])
    np.testing.assert_array_equal(inside, [1, 1, 0, 0, 0])


@pytest.mark.skipif(not JIT, reason="PyTorch always knows")
def test_traced_indices_are_compared_in_their_own_dtype():
    given = ops.cast(np.array([0, 200, 255]), "uint8")
    assert looked_up(given, size=1000)[1].all()  # 1000 is no uint8
    if keras.backend.backend() == "tensorflow":  # JAX has int32 alone
        given = np.array([2**32, 2**32 + 1, -(2**32), 2])
        np.testing.assert_array_equal(looked_up(given)[1], [0, 0, 0, 1])


@pytest.mark.skipif(not JIT, reason="PyTorch always knows")
def test_traced_floats_that_are_no_integers_are_replaced():
    given = np.array([np.nan, np.inf, -np.inf, 0.5, 2.0], "float32")
    np.testing.assert_array_equal(looked_up(given)[1], [0, 0, 0, 0, 1])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_nan_stands_where_nothing_was(dtype):
    x = normal(2, 3, 4).astype(dtype)
    inside = np.array([[True, False, True], [False, True, True]])
    y = ops.convert_to_numpy(nan_outside(ops.convert_to_tensor(x), inside))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.where(inside[..., None], x, np.nan))


def test_what_is_inside_is_left_alone():
    x = ops.ones((2, 3))
    assert nan_outside(x, None) is x
    assert float(nan_outside(ops.ones(()), True)) == 1.0


def test_integers_have_no_nan():
    x = ops.ones(3, "int32")
    with pytest.raises(ValueError, match="Received: x of int32"):
        nan_outside(x, np.array([True, False, True]))


@pytest.mark.parametrize("wide", [False, True])
def test_a_slice_is_read_and_written_where_an_index_says(wide):
    with contextlib.ExitStack() as stack:
        if wide and keras.config.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))

        def shifted(x, i):
            part = slice_at(x, (0, i), (2, 2))
            return update_slice(x, (0, i + 1), part)

        x = np.arange(10.0).reshape(2, 5)
        got = ops.convert_to_numpy(compiled(shifted)(x, np.int32(1)))
    x[:, 2:4] = x[:, 1:3].copy()
    np.testing.assert_array_equal(got, x)
