"""Checks of arguments, with one error message per kind of argument.

Each function returns the argument as the plain Python value that the library
stores, so that NumPy scalars are accepted everywhere and configs remain JSON.
"""

import math
import numbers

import keras
import numpy as np
from keras import ops

MAX_SEED = 2**31  # seeds are int32 in compiled programs and SavedModels


def is_integer(n):
    """Tells whether `n` is a Python or NumPy integer, but not a bool."""
    return isinstance(n, numbers.Integral) and not isinstance(n, bool)


def is_real(x):
    """Tells whether `x` is a finite Python or NumPy number, but not a bool."""
    real = isinstance(x, numbers.Real) and not isinstance(x, bool)
    return real and math.isfinite(x)


def check_integer(name, value, least=None, most=None, optional=False):
    """Returns `value` as an `int`, or None if `optional`.

    Args:
        name: the argument's name, for the message.
        value: a Python or NumPy integer.
        least, most: optional bounds, which are themselves allowed.
        optional: whether None is accepted.

    Raises:
        ValueError: if `value` is not an integer within the bounds.
    """
    if optional and value is None:
        return None
    if (
        not is_integer(value)
        or (least is not None and value < least)
        or (most is not None and value > most)
    ):
        raise ValueError(
            f"`{name}` must be {_integers(least, most)}. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def check_size(name, size, optional=False):
    """Returns `size` as an `int`, or None if `optional`.

    Raises:
        ValueError: if it is not a positive integer.
    """
    return check_integer(name, size, least=1, optional=optional)


def check_integers(name, values, least=1, count=None):
    """Returns `values` as a list of `int`.

    Args:
        name: the argument's name, for the message.
        values: a list, tuple or NumPy array of integers, at least one.
        least: int, the smallest allowed value.
        count: optional int, the required number of integers.

    Raises:
        ValueError: if `values` is invalid.
    """
    several = isinstance(values, (list, tuple)) or (
        isinstance(values, np.ndarray) and values.ndim == 1
    )
    if (
        not several
        or len(values) != (len(values) or 1 if count is None else count)
        or not all(is_integer(n) and n >= least for n in values)
    ):
        number = "" if count is None else f"{count} "
        raise ValueError(
            f"`{name}` must be a list of {number}integers >= {least}. "
            f"Received: {name}={values!r}"
        )
    return [int(n) for n in values]


def check_seed(seed, name="seed"):
    """Returns `seed` as an `int`, or None for a random seed.

    Raises:
        ValueError: if it is not an integer from 0 to 2³¹ - 1.
    """
    if seed is None:
        return None
    if not is_integer(seed) or not 0 <= seed < MAX_SEED:
        raise ValueError(
            f"`{name}` must be an integer in [0, 2**31), or None. "
            f"Received: {name}={seed!r}"
        )
    return int(seed)


def check_number(
    name,
    value,
    least=None,
    most=None,
    above=None,
    below=None,
    optional=False,
):
    """Returns `value` as a `float`, or None if `optional`.

    Args:
        name: the argument's name, for the message.
        value: a finite Python or NumPy number.
        least, most: optional bounds, which are themselves allowed.
        above, below: optional bounds, which are themselves not allowed.
        optional: whether None is accepted.

    Raises:
        ValueError: if `value` is not a finite number within the bounds.
    """
    if optional and value is None:
        return None
    if (
        not is_real(value)
        or (least is not None and value < least)
        or (most is not None and value > most)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    ):
        raise ValueError(
            f"`{name}` must be a number{_range(least, most, above, below)}. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def check_share(name, share):
    """Returns `share` as a `float`.

    Raises:
        ValueError: if it is not a number in [0, 1).
    """
    return check_number(name, share, least=0, below=1)


def check_not_negative(name, number):
    """Returns `number` as a `float`.

    Raises:
        ValueError: if it is not a finite number >= 0.
    """
    return check_number(name, number, least=0)


def check_positive(name, number):
    """Returns `number` as a `float`.

    Raises:
        ValueError: if it is not a finite number > 0.
    """
    return check_number(name, number, above=0)


def check_flag(name, value):
    """Returns `value` as a `bool`.

    Raises:
        ValueError: if it is neither a Python nor a NumPy bool.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be a bool. Received: {name}={value!r}")
    return bool(value)


def check_choice(name, value, choices):
    """Returns `value`, or raises if it is not an accepted value.

    Args:
        name: the argument's name, for the message.
        value: the argument that was received.
        choices: the accepted values, strings or None.

    Raises:
        ValueError: if `value` is not in `choices`.
    """
    if not any(value is c or _equal(value, c) for c in choices):
        shown = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"`{name}` must be one of {shown}. Received: {name}={value!r}"
        )
    return value


def check_shape(name, tensor, expected, broadcast=0):
    """Rejects a tensor with another shape than expected.

    Args:
        name: the argument's name, for the message.
        tensor: the tensor that was received, or its shape.
        expected: sizes of its axes; None accepts any size.
        broadcast: number of leading axes that may also have size 1.

    Raises:
        ValueError: if the number of axes or a known size differs.
    """
    shape = tuple(getattr(tensor, "shape", tensor))
    expected = tuple(expected)
    fits = len(shape) == len(expected) and all(
        have == want or None in (have, want) or (have == 1 and i < broadcast)
        for i, (have, want) in enumerate(zip(shape, expected, strict=True))
    )
    if not fits:
        raise ValueError(
            f"`{name}` must be of shape {expected}. "
            f"Received: {name} of shape {shape}"
        )


def check_numbers(name, values):
    """Returns `values` as a float64 NumPy array.

    Args:
        name: the argument's name, for the message.
        values: a number, or nested lists, tuples or arrays of numbers.

    Raises:
        ValueError: if an entry is not a finite number; bools and strings are
            rejected.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite numbers. Received: {name}={values!r}"
        )
    return array.astype("float64")


def check_finite(name, array):
    """Returns `array` as a NumPy array.

    Raises:
        ValueError: if an entry is NaN, infinite, or not a number.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite numbers. Received: {name}={array!r}"
        )
    return array


def check_mask(name, mask, where="to attend"):
    """Returns `mask` as a boolean tensor.

    Args:
        name: the argument's name, for the message.
        mask: booleans, or integers, where 0 means False.
        where: the meaning of True, for the message.

    Raises:
        ValueError: if it holds floating-point numbers, since an additive mask
            of 0 and -inf would be inverted.
    """
    mask = ops.convert_to_tensor(mask)
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"`{name}` must be boolean, True where {where}. "
            f"Received: {name} of {dtype}"
        )
    return ops.cast(mask, "bool")


def _equal(value, choice):
    """Compares strings only, since arrays compare entry by entry."""
    return isinstance(value, str) and value == choice


def _integers(least, most):
    """Describes integers within bounds in words."""
    if most is not None:
        low = "" if least is None else f" from {least}"
        return f"an integer{low} to {most}"
    if least == 1:
        return "a positive integer"
    return "an integer" if least is None else f"an integer >= {least}"


def _range(least, most, above, below):
    """Describes the bounds of numbers in words, after a space."""
    low, high = (above, below) if most is None else (above, most)
    low = least if low is None else low
    if low is None and high is None:
        return ""
    if high is None:
        return f" > {low}" if least is None else f" >= {low}"
    if low is None:
        return f" < {high}" if most is None else f" <= {high}"
    left = "(" if least is None else "["
    right = ")" if most is None else "]"
    return f" in {left}{low}, {high}{right}"
