"""What counts as a number among the arguments of a class."""

import math
import numbers


def is_real(x):
    """Whether `x` is a finite Python or NumPy number; a bool is none."""
    real = isinstance(x, numbers.Real) and not isinstance(x, bool)
    return real and math.isfinite(x)
