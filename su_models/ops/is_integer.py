"""What counts as an integer among the arguments of a class."""

import numbers


def is_integer(n):
    """Whether `n` is a Python or NumPy integer; a bool is none."""
    return isinstance(n, numbers.Integral) and not isinstance(n, bool)
