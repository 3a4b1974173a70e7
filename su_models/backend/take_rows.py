"""Rows of a table, with a gradient that every optimizer reads right."""

from keras import ops


def take_rows(table, indices):
    """Returns `table[indices]`, `(*indices.shape, dim)`.

    TensorFlow's gradient of a lookup in a variable lists a row once for each
    time that it was taken, and an optimizer such as Adam squares before it
    sums. Here the gradient is the table's own, the sum.

    Args:
        table: `(rows, dim)`, a variable or a tensor.
        indices: integers in 0, ..., rows - 1.
    """
    # the gradient of a reshape is dense
    table = ops.reshape(table, (-1, table.shape[-1]))
    return ops.take(table, ops.cast(indices, "int32"), axis=0)
