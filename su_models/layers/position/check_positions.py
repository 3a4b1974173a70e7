"""Positions of tokens, as an argument."""

import keras
from keras import ops


def check_positions(positions, length):
    """Returns `positions` as a tensor of integers.

    What is refused would be rounded by autocasting, or broadcast in silence.

    Args:
        positions: integers, `(length,)` or `(batch, length)`.
        length: the length of what is positioned, or None if unknown.

    Raises:
        ValueError: if they are no integers, or of another shape.
    """
    positions = ops.convert_to_tensor(positions)
    dtype, shape = positions.dtype, tuple(positions.shape)
    if not keras.backend.is_int_dtype(dtype):
        raise ValueError(
            f"`positions` must be integers. Received: positions of {dtype}"
        )
    if len(shape) not in (1, 2) or (length and shape[-1] not in (None, length)):
        raise ValueError(
            f"`positions` must be `(length,)` or `(batch, length)`, with the "
            f"length {length} of the inputs. Received: positions of {shape}"
        )
    return positions
