"""How far each key stands from each query."""

from keras import ops

from su_models.layers.position.check_positions import check_positions


def relative_positions(query, value=None, positions=None):
    """Returns j - i of key j and query i, `(1|batch, n, m)`.

    Args:
        query: any tensor `(batch, n, ...)`; only its length is read.
        value: any tensor `(batch, m, ...)`, such as keys, or a cache of
            them. None: `query`.
        positions: positions i of the queries, `(n,)` or `(batch, n)`. None:
            0, ..., n - 1. Those of the keys are always 0, ..., m - 1.

    Raises:
        ValueError: if a tensor has no length, or `positions` do not fit.
    """
    value = query if value is None else value
    for name, x in (("query", query), ("value", value)):
        if len(x.shape) < 2:
            raise ValueError(
                f"`{name}` must be `(batch, length, ...)`. "
                f"Received: {name} of shape {tuple(x.shape)}"
            )
    if positions is None:
        i = ops.arange(ops.shape(query)[1])
    else:
        i = ops.cast(check_positions(positions, query.shape[1]), "int32")
    if len(i.shape) == 1:
        i = ops.expand_dims(i, 0)
    return ops.arange(ops.shape(value)[1]) - ops.expand_dims(i, -1)
