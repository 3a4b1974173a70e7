"""Check of the argument `positions`."""

import keras
from keras import ops

from su_models.utils.checks import check_shape


def check_positions(positions, length, batch_size, name="positions"):
    """Returns `positions` as a tensor of integers, or raises.

    Rejects positions that autocasting would round or that would broadcast
    silently.

    Args:
        positions: integers, `(length,)` or `(batch_size, length)`.
        length: length of the sequence, or None if unknown.
        batch_size: number of sequences, or None if unknown.
        name: the argument's name, for the message.

    Raises:
        ValueError: if they are not integers or have another shape.
    """
    positions = ops.convert_to_tensor(positions)
    if not keras.backend.is_int_dtype(positions.dtype):
        dtype = keras.backend.standardize_dtype(positions.dtype)
        raise ValueError(
            f"`{name}` must be integers. Received: {name} of {dtype}"
        )
    if len(positions.shape) == 1:
        check_shape(name, positions, (length,))
    else:
        check_shape(name, positions, (batch_size, length))
    return positions
