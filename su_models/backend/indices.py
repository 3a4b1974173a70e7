"""Checks of indices: an error, or NaN if no error can be raised."""

import keras
import numpy as np
from keras import ops

from su_models.backend.selection import runs_on
from su_models.backend.tracing import is_known


def check_indices(name, indices, size, first=0):
    """Returns valid indices, and whether the given ones were valid.

    Backends disagree about an index out of range: they clip it, wrap it,
    return zeros, or raise an error. Here it is an error if its value is
    known. In a compiled program and in a SavedModel it is unknown; there the
    index is replaced by `first`, and `nan_outside` replaces the looked-up
    values by NaN.

    Args:
        name: the argument's name, for the message.
        indices: integers of any dtype and shape, or floating-point numbers
            that are integers (Keras casts labels).
        size: the number of indices: an integer, or a scalar tensor in a
            compiled program.
        first: int. The smallest index.

    Returns:
        `(indices, inside)`: valid int32 indices, and booleans of the same
        shape, False where an index was replaced. `inside` is None if all
        values are known, and hence valid.

    Raises:
        ValueError: if a known index is not in `first`, ..., `first + size -
            1`.
    """
    if is_known(indices) and is_known(size):
        tensor = ops.is_tensor(indices) or isinstance(indices, keras.Variable)
        values = indices if tensor else np.asarray(indices)
        _check_values(name, ops.convert_to_numpy(values), size, first)
        if not tensor:  # JAX would warn about int64
            values = ops.convert_to_tensor(values.astype("int32"))
        return ops.cast(values, "int32"), None
    indices = ops.convert_to_tensor(indices)
    dtype = keras.backend.standardize_dtype(indices.dtype)
    if keras.backend.is_float_dtype(dtype):
        if dtype != "float64":
            indices = ops.cast(indices, "float32")
        inside = ops.equal(indices, ops.floor(indices))
    else:
        if "64" not in dtype and dtype != "uint32":
            indices = ops.cast(indices, "int32")  # uint8 may not hold `size`
        inside = True
    inside = ops.logical_and(
        inside,
        ops.logical_and(indices >= first, indices <= first + size - 1),
    )
    # before the cast: 2³² would be 0
    indices = ops.where(inside, indices, ops.full_like(indices, first))
    return ops.cast(indices, "int32"), inside


def nan_outside(x, inside):
    """Returns `x` with NaN where `inside` is False.

    Args:
        x: floating-point tensor, whose first axes are those of `inside`.
        inside: booleans, as returned by `check_indices`. None: returns `x`.

    Raises:
        ValueError: if `x` is an integer tensor, which has no NaN.
    """
    if inside is None:
        return x
    if not keras.backend.is_float_dtype(x.dtype):
        raise ValueError(
            "`x` must be a floating-point tensor: integers have no NaN. "
            f"Received: x of {keras.backend.standardize_dtype(x.dtype)}"
        )
    inside = ops.convert_to_tensor(inside)
    for _ in range(len(x.shape) - len(inside.shape)):
        inside = ops.expand_dims(inside, -1)
    return ops.where(inside, x, float("nan"))


def slice_at(x, starts, shape):
    """Returns `ops.slice(x, starts, shape)`.

    Args:
        x: a tensor.
        starts: for each axis, an integer or an int32 scalar.
        shape: sizes of the slice.
    """
    return ops.slice(x, _int32(starts), shape)


def update_slice(x, starts, new):
    """Returns `x` with `new` written from `starts` on.

    The function is for decoding only: TensorFlow has no gradient for it.

    Args:
        x: a tensor.
        starts: for each axis, an integer or an int32 scalar.
        new: a tensor with as many axes as `x`.
    """
    return ops.slice_update(x, _int32(starts), new)


def _int32(starts):
    """Returns starts of one dtype, as JAX in float64 needs them."""
    if not runs_on("jax"):
        return starts
    return tuple(ops.cast(start, "int32") for start in starts)


def _check_values(name, values, size, first):
    """Raises an error if an index does not exist."""
    # the negation includes NaN
    wrong = ~((values >= first) & (values <= first + size - 1))
    if values.dtype.kind not in "biu":
        wrong |= values != np.floor(values)
    if wrong.any():
        shown = ", ".join(f"{i}" for i in np.unique(values[wrong])[:5])
        raise ValueError(
            f"`{name}` must be integers from {first} to {first + size - 1}. "
            f"Received: {name} with {shown}"
        )
