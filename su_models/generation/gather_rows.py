"""Selection of rows, such as beams, within each sample."""

from keras import ops


def gather_rows(x, rows):
    """Returns the entries `x[i, rows[i, j]]`, `(batch, m, ...)`.

    Args:
        x: `(batch, n, ...)`.
        rows: int32 `(batch, m)`, from 0 to n - 1.
    """
    batch, n = ops.shape(x)[:2]
    flat = ops.reshape(x, (-1, *x.shape[2:]))  # (batch * n, ...)
    first = ops.reshape(ops.arange(batch, dtype="int32") * n, (-1, 1))
    return ops.take(flat, ops.add(first, rows), axis=0)


def at_rank(x, column):
    """Returns `x[..., column]` for an integer tensor `column` `(...,)`.

    Args:
        x: `(..., n)`.
        column: int32 `(...,)`, from 0 to n - 1.
    """
    column = ops.expand_dims(column, -1)
    return ops.squeeze(ops.take_along_axis(x, column, axis=-1), -1)
