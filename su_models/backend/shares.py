"""Numbers from 0 to 1: an error, or NaN where no error can be raised."""

from keras import ops

from su_models.backend.tracing import is_known


def check_shares(name, x, slack=1e-5, nan=False):
    """Returns `x`, whose entries must be from 0 to 1.

    Args:
        name: the argument's name, for the message.
        x: floating-point tensor.
        slack: float, how far beyond is taken for rounding.
        nan: bool. Whether NaN is accepted, and stays.

    Raises:
        ValueError: if a known entry is not from 0 to 1. One that is not
            known, in a compiled program, becomes NaN.
    """
    if nan:
        outside = ops.logical_or(x < -slack, x > 1.0 + slack)
    else:
        inside = ops.logical_and(x >= -slack, x <= 1.0 + slack)
        outside = ops.logical_not(inside)
    if not is_known(x):
        return ops.where(outside, float("nan"), x)
    if ops.any(outside):
        values = ops.convert_to_numpy(ops.cast(x, "float32"))
        raise ValueError(
            f"`{name}` must be numbers from 0 to 1. Received: {name} from "
            f"{values.min()} to {values.max()}"
        )
    return x
