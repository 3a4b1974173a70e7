"""What is accepted as an argument, and the words for everything else."""

import keras
import numpy as np
import pytest

from su_models.utils.checks import (
    check_choice,
    check_finite,
    check_flag,
    check_integer,
    check_integers,
    check_mask,
    check_number,
    check_numbers,
    check_seed,
    check_shape,
    check_share,
    check_size,
    is_integer,
    is_real,
)


@pytest.mark.parametrize("n", [0, -3, 2**40, np.int32(7), np.uint8(7)])
def test_integers_of_python_and_numpy_are_integers(n):
    assert is_integer(n)


@pytest.mark.parametrize(
    "n", [True, np.True_, 2.0, np.float32(2), float("nan"), "2", None, [2]]
)
def test_nothing_else_is_an_integer(n):
    assert not is_integer(n)


@pytest.mark.parametrize("x", [0, -3, 0.5, np.float32(2), np.int64(7)])
def test_finite_numbers_are_real(x):
    assert is_real(x)


@pytest.mark.parametrize(
    "x", [True, "1", None, [1.0], 1j, float("nan"), float("inf"), -np.inf]
)
def test_everything_else_is_not_real(x):
    assert not is_real(x)


def test_right_numbers_become_python_numbers():
    assert type(check_size("units", np.int64(3))) is int
    assert check_size("units", None, optional=True) is None
    assert type(check_share("rate", np.float32(0.5))) is float
    assert check_share("rate", 0) == 0.0


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ValueError, match="`units`.*Received: units="):
        check_size("units", size)


@pytest.mark.parametrize("share", [1, 1.5, -0.1, float("nan"), "a", None, True])
def test_wrong_shares_are_refused(share):
    with pytest.raises(ValueError, match="`rate`.*Received: rate="):
        check_share("rate", share)


@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_what_is_no_switch_is_refused(value):
    assert check_flag("hard", True) is True
    with pytest.raises(ValueError, match="`hard`.*Received: hard="):
        check_flag("hard", value)


@pytest.mark.parametrize(
    ("shape", "expected", "broadcast"),
    [
        ((2, 3), (2, 3), 0),
        ((2, 3), (None, 3), 0),
        ((1, 3), (2, 3), 1),
        ((1, 1, 3), (2, 4, 3), 2),
    ],
)
def test_right_shapes_pass(shape, expected, broadcast):
    check_shape("x", np.zeros(shape), expected, broadcast)


@pytest.mark.parametrize(
    ("shape", "expected", "broadcast"),
    [
        ((2, 3), (3, 2), 2),
        ((2, 3), (2, 3, None), 0),
        ((1, 3), (2, 3), 0),
        ((2, 1), (2, 3), 1),
    ],
)
def test_wrong_shapes_are_refused(shape, expected, broadcast):
    with pytest.raises(ValueError, match="`mask`.*Received: mask of shape"):
        check_shape("mask", np.zeros(shape), expected, broadcast)


def test_numpy_flags_become_python_bools():
    assert check_flag("hard", np.True_) is True


@pytest.mark.parametrize(
    ("bounds", "value", "words"),
    [
        ({"least": 2}, 1, "an integer >= 2. Received: k=1"),
        ({"least": 1, "most": 5}, 6, "an integer from 1 to 5. Received: k=6"),
        ({"least": 1}, 0, "a positive integer. Received: k=0"),
        ({}, 1.0, "an integer. Received: k=1.0"),
        ({}, None, "an integer. Received: k=None"),
    ],
)
def test_integers_outside_their_bounds_are_rejected(bounds, value, words):
    with pytest.raises(ValueError) as error:
        check_integer("k", value, **bounds)
    assert str(error.value) == f"`k` must be {words}"


def test_integers_on_their_bounds_are_accepted():
    assert check_integer("k", np.int8(5), least=1, most=5) == 5
    assert check_integer("k", 1, least=1, most=5) == 1


@pytest.mark.parametrize(
    ("bounds", "value", "words"),
    [
        ({"least": 0, "below": 1}, 1, " in [0, 1)"),
        ({"above": 0, "most": 1}, 0, " in (0, 1]"),
        ({"above": 0}, 0, " > 0"),
        ({"least": 0}, -1, " >= 0"),
        ({"below": 1}, 1, " < 1"),
        ({"most": 1}, 2, " <= 1"),
        ({}, np.inf, ""),
    ],
)
def test_numbers_outside_their_bounds_are_rejected(bounds, value, words):
    with pytest.raises(ValueError) as error:
        check_number("x", value, **bounds)
    message = f"`x` must be a number{words}. Received: x={value!r}"
    assert str(error.value) == message


def test_numbers_on_their_bounds_are_accepted():
    assert check_number("x", 0, least=0, most=1) == 0.0
    assert check_number("x", np.float32(1), least=0, most=1) == 1.0
    assert check_number("x", None, optional=True) is None


@pytest.mark.parametrize(
    "values", [[2, 3], (np.int64(2), 3), np.array([2, 3], "uint8")]
)
def test_integers_become_a_list(values):
    got = check_integers("levels", values, least=2, count=2)
    assert got == [2, 3] and [type(n) for n in got] == [int, int]


@pytest.mark.parametrize(
    "values",
    [[], 3, "23", None, {2, 3}, [2, 1], [2, True], [2.0], np.ones((2, 2), int)],
)
def test_everything_else_is_no_list_of_integers(values):
    words = "`levels` must be a list of integers >= 2. Received: levels="
    with pytest.raises(ValueError, match=words):
        check_integers("levels", values, least=2)


def test_another_number_of_integers_is_rejected():
    with pytest.raises(ValueError, match="a list of 3 integers >= 1"):
        check_integers("shape", [2, 3], count=3)


@pytest.mark.parametrize("seed", [0, np.int64(2**31 - 1), None])
def test_seeds_are_accepted(seed):
    assert check_seed(seed) == seed


@pytest.mark.parametrize("seed", [-1, 2**31, 1.0, True, "1"])
def test_everything_else_is_no_seed(seed):
    with pytest.raises(ValueError, match="`seed`.*Received: seed="):
        check_seed(seed)


def test_choices():
    assert check_choice("form", None, ("a", None)) is None
    assert check_choice("form", "a", ("a", None)) == "a"
    for wrong in ("A", 1, np.array(["a", "b"])):
        with pytest.raises(ValueError, match="'a', None. Received: form="):
            check_choice("form", wrong, ("a", None))


def test_finite_arrays():
    np.testing.assert_array_equal(check_finite("x", [1, 2.5]), [1, 2.5])
    for wrong in ([np.nan], [np.inf], ["a"], [None]):
        with pytest.raises(ValueError, match="`x` must be finite numbers"):
            check_finite("x", wrong)


def test_a_shape_is_checked_as_a_tensor_is():
    check_shape("x", (None, 4), (3, 4))
    with pytest.raises(ValueError, match="`x` must .*Received: x of shape"):
        check_shape("x", (3, 1), (3, 4))


@pytest.mark.parametrize("x", [2, np.float32(0.5), [1, 2.5], [[1], [2]]])
def test_numbers_become_float64(x):
    got = check_numbers("x", x)
    assert got.dtype == "float64"
    np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize(
    "x", [np.nan, [np.inf], "a", ["1"], None, [None], True, [[1], [1, 2]], 1j]
)
def test_everything_else_is_no_number(x):
    with pytest.raises(ValueError, match="`x` must be finite numbers. Rec"):
        check_numbers("x", x)


def test_masks_are_booleans():
    mask = check_mask("mask", np.array([1, 0]))
    assert keras.backend.standardize_dtype(mask.dtype) == "bool"
    with pytest.raises(ValueError, match="boolean.*mask of float32"):
        check_mask("mask", np.zeros(2, "float32"))
