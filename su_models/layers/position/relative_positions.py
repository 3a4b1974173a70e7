"""Distances between queries and keys."""

from keras import ops

from su_models.layers.position.check_positions import check_positions


def relative_positions(query, value=None, positions=None, key_positions=None):
    """Returns j - i of key j and query i, `(1|batch, n, m)`.

    Args:
        query: any tensor `(batch, n, ...)`; only its length is read.
        value: any tensor `(batch, m, ...)`; only its length is read. Defaults
            to `query`, unless `key_positions` are given.
        positions: positions i of the queries, `(n,)` or `(batch, n)`.
            Defaults to 0, ..., n - 1.
        key_positions: positions j of the keys, `(m,)` or `(batch, m)`.
            Defaults to 0, ..., m - 1.

    Raises:
        ValueError: if a tensor has no length, or positions do not fit.
    """
    batch_size, n = _length("query", query)
    m = None
    if value is not None:
        m = _length("value", value)[1]
    elif key_positions is None:
        value, m = query, n
    if positions is None:
        i = ops.arange(ops.shape(query)[1])
    else:
        i = check_positions(positions, n, batch_size)
    if key_positions is None:
        j = ops.arange(ops.shape(value)[1])
    else:
        j = check_positions(key_positions, m, batch_size, "key_positions")
    i, j = (_by_sample(x) for x in (i, j))
    return ops.expand_dims(j, 1) - ops.expand_dims(i, 2)  # (1|b, n, m)


def relative_shape(
    query_shape,
    value_shape=None,
    positions_shape=None,
    key_positions_shape=None,
):
    """Returns the shape of `relative_positions`, `(1|batch, n, m)`."""
    given = [s for s in (positions_shape, key_positions_shape) if s is not None]
    batch_size = query_shape[0] if any(len(s) == 2 for s in given) else 1
    if key_positions_shape is not None:
        m = key_positions_shape[-1]
    else:
        m = (value_shape or query_shape)[1]
    return batch_size, query_shape[1], m


def _length(name, x):
    """Returns the static batch size and length of `x`."""
    if len(x.shape) < 2:
        raise ValueError(
            f"`{name}` must be `(batch, length, ...)`. "
            f"Received: {name} of shape {tuple(x.shape)}"
        )
    return x.shape[:2]


def _by_sample(positions):
    """Returns int32 positions `(1|batch, length)`."""
    positions = ops.cast(positions, "int32")
    if len(positions.shape) == 1:
        positions = ops.expand_dims(positions, 0)
    return positions
