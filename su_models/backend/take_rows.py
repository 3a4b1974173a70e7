"""Rows of a table, with a gradient that every optimizer reads right."""

import keras
from keras import ops

from su_models.backend.indices import check_indices, nan_outside


def take_rows(table, indices, name="indices", check=True):
    """Returns `table[indices]`, `(*indices.shape, dim)`.

    A row that does not exist is an error where the index has a value, and
    NaN in compiled programs and SavedModels. Its gradient moves no row.

    TensorFlow's gradient of a lookup in a variable lists a row once for each
    time that it was taken, and an optimizer such as Adam squares before it
    sums. Here the gradient is the table's own, the sum.

    Args:
        table: `(rows, dim)`, floating-point: a variable or a tensor.
        indices: integers in 0, ..., rows - 1.
        name: what the caller calls the indices, for the message.
        check: whether indices may be out of range. Pass False for those
            that the library computed itself.

    Raises:
        ValueError: if a known index is out of range, or if `table` holds
            integers, which have no NaN (look those up by `check_indices`).
    """
    if not keras.backend.is_float_dtype(table.dtype):
        raise ValueError(
            "`table` must be floating-point. Received: table of "
            f"{keras.backend.standardize_dtype(table.dtype)}"
        )
    inside = None
    if check:
        indices, inside = check_indices(name, indices, table.shape[0])
    # the gradient of a reshape is dense
    table = ops.reshape(table, (-1, table.shape[-1]))
    rows = ops.take(table, ops.cast(indices, "int32"), axis=0)
    return nan_outside(rows, inside)
