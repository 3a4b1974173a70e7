"""Lookup of rows of a table, with a dense gradient for any optimizer."""

import keras
from keras import ops

from su_models.backend.indices import check_indices, nan_outside


def take_rows(table, indices, name="indices", check=True):
    """Returns `table[indices]`, `(*indices.shape, dim)`.

    An index out of range is an error if its value is known, and gives NaN in
    compiled programs and SavedModels. Its gradient changes no row.

    TensorFlow's gradient of a lookup in a variable lists a row once for each
    lookup, and an optimizer such as Adam squares these entries before it sums
    them. Here the gradient is dense and holds the sums.

    Args:
        table: `(rows, dim)`, floating-point: a variable or a tensor.
        indices: integers in 0, ..., rows - 1.
        name: name of the caller's argument, for the message.
        check: whether indices may be out of range. Pass False for indices
            that the library computed itself.

    Raises:
        ValueError: if a known index is out of range, or if `table` holds
            integers, which have no NaN (use `check_indices` for these).
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
