"""Numbers and switches among the arguments of a class, refused in words."""

from su_models.ops.is_integer import is_integer
from su_models.ops.is_real import is_real


def check_size(name, size, optional=False):
    """Returns `size` as an `int`; None too, if `optional`.

    Raises:
        ValueError: if it is no positive integer.
    """
    if optional and size is None:
        return None
    if not is_integer(size) or size <= 0:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={size!r}"
        )
    return int(size)


def check_share(name, share):
    """Returns `share` as a `float`.

    Raises:
        ValueError: if it is no number in [0, 1).
    """
    if not is_real(share) or not 0 <= share < 1:
        raise ValueError(
            f"`{name}` must be a number in [0, 1). Received: {name}={share!r}"
        )
    return float(share)


def check_not_negative(name, number):
    """Returns `number` as a `float`.

    Raises:
        ValueError: if it is no finite number >= 0.
    """
    if not is_real(number) or number < 0:
        raise ValueError(
            f"`{name}` must be a number >= 0. Received: {name}={number!r}"
        )
    return float(number)


def check_positive(name, number):
    """Returns `number` as a `float`.

    Raises:
        ValueError: if it is no finite number > 0.
    """
    if not is_real(number) or number <= 0:
        raise ValueError(
            f"`{name}` must be a number > 0. Received: {name}={number!r}"
        )
    return float(number)


def check_bool(name, value):
    """Returns `value`.

    Raises:
        ValueError: if it is no bool.
    """
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be a bool. Received: {name}={value!r}")
    return value
