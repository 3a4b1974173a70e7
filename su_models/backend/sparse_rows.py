"""Sparse gradients of tables, and views of the rows of a variable."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype

# marks TensorFlow's IndexedSlices in which each row is listed once
_SUMMED = "_su_models_summed"
_FACTOR = 2654435761  # near 2³² times the golden ratio: it scatters integers


def is_sparse(gradient):
    """Tells whether a gradient is a `tf.IndexedSlices`, on TensorFlow only."""
    # on JAX and PyTorch the gradient of a lookup is dense
    return keras.backend.backend() == "tensorflow" and hasattr(
        gradient, "indices"
    )


def map_values(fn, gradients):
    """Applies a function of a list of tensors to gradients.

    For a sparse gradient the function receives its values. The values of a
    result of `sum_rows` have the norm of the whole gradient, and remain
    summed.

    Args:
        fn: maps a list of tensors to a list of tensors of the same shapes.
        gradients: list of tensors and `tf.IndexedSlices`.
    """
    values = fn([g.values if is_sparse(g) else g for g in gradients])
    return [
        _slices(v, g.indices, g.dense_shape, hasattr(g, _SUMMED))
        if is_sparse(g)
        else v
        for v, g in zip(values, gradients, strict=True)
    ]


def sum_rows(gradient):
    """Adds the slices of a gradient that belong to the same row.

    TensorFlow's gradient of a lookup has one slice for each lookup of a row.
    The result has each row once, with the sum, in the order of the first
    lookups. XLA requires that the number of slices does not change: the
    remaining slices are zeros for the last row. If the sum of the last row is
    not finite they repeat it, since Keras' loss scaling checks only the last
    slice of a row.

    Args:
        gradient: `tf.IndexedSlices`; other gradients are returned unchanged.

    Returns:
        A gradient of the same kind.
    """
    if not is_sparse(gradient) or hasattr(gradient, _SUMMED):
        return gradient
    import tensorflow as tf

    values, indices = gradient.values, gradient.indices
    known = indices.shape[0]
    n = tf.size(indices) if known is None else known
    places = tf.range(n)
    first = _first_places(indices, places)
    segments = tf.cumsum(tf.cast(first == places, "int32")) - 1
    last = segments[-1:]  # none if there are no slices
    segments = tf.gather(segments, first)
    wide = tf.cast(values, sum_dtype(values.dtype))
    sums = tf.math.unsorted_segment_sum(wide, segments, n)
    sums = tf.cast(sums, values.dtype)
    rows = tf.math.unsorted_segment_max(indices, segments, n)
    is_row = places <= last
    rows = tf.where(is_row, rows, tf.gather(rows, last))
    sum_of_last = tf.gather(sums, last)  # (1, ...)
    rest = tf.where(
        tf.math.is_finite(sum_of_last), tf.zeros_like(sum_of_last), sum_of_last
    )
    is_row = tf.reshape(is_row, [-1, *[1] * (len(sums.shape) - 1)])
    sums = tf.where(is_row, sums, rest)
    return _slices(sums, rows, gradient.dense_shape, True)


def _first_places(indices, places):
    """Returns, for each slice, the place of the first slice of its row.

    Rows are hashed to twice as many cells as there are slices. A cell belongs
    to the row of its first slice; the other rows are hashed anew. Each round
    settles at least one row for each cell that is used, so that few rounds are
    needed, and never more than there are rows.

    Sorting would be simpler, but XLA for CPUs (TensorFlow 2.21) computes all
    of a step that contains a sort, however short, up to six times as slowly.
    """
    import tensorflow as tf

    cells = 2 * tf.size(indices) + 1
    keys = tf.cast(indices, "int64")

    def is_open(_, settled, __):
        return tf.logical_not(tf.reduce_all(settled))

    def settle(factor, settled, first):
        cell = tf.cast(
            (keys * factor // 2**16) % tf.cast(cells, "int64"), "int32"
        )
        taken = tf.where(settled, -1, cell)  # negative ones are dropped
        owners = tf.math.unsorted_segment_min(places, taken, cells)
        owner = tf.where(settled, first, tf.gather(owners, cell))
        agrees = tf.gather(indices, owner) == indices
        first = tf.where(agrees, owner, first)
        return (factor * _FACTOR) % 2**32, settled | agrees, first

    start = tf.constant(_FACTOR, "int64"), places < 0, places
    return tf.while_loop(is_open, settle, start)[2]


def choose_rows(gradient, by_rows):
    """Returns the rows to update, their gradients, and which are touched.

    A row is touched if its gradient is not zero.

    Args:
        gradient: gradient of a table, `(rows, ...)`. If it is sparse, it must
            be a result of `sum_rows`.
        by_rows: whether to select rows, if the backend can.

    Returns:
        Rows, integers `(n,)` or None for all rows; their gradients `(n, ...)`;
        a bool for each row, or None if all are touched. A row may occur
        several times, always with its whole gradient, so that it may be
        written several times.
    """
    if by_rows and is_sparse(gradient):
        rows, gradient = _split(gradient)
        return rows, gradient, _is_touched(gradient)
    gradient = densify(gradient)
    touched = _is_touched(gradient)
    if by_rows and keras.backend.backend() == "torch":
        # the number of rows depends on the values
        rows = ops.nonzero(touched)[0]
        return rows, gradient[rows], None
    return None, gradient, touched


def densify(gradient):
    """Returns a gradient as one tensor of the shape of its variable."""
    if not is_sparse(gradient):
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


class RowView(keras.Variable):
    """A view of some or all rows of a variable.

    An optimizer that receives views of a variable and of its own variables
    updates only these rows. Assignments remain in the view until `write`.

    Args:
        variable: `keras.Variable`, or `tf.Variable` in TensorFlow's updates.
        rows: integers `(n,)`, or None for all rows.
        source: the `keras.Variable` whose name and path the view has.
    """

    # No super().__init__(): a variable cannot be created in a trace.
    def __init__(self, variable, rows=None, source=None):
        self._viewed = variable
        self._rows = rows
        self.source = variable if source is None else source
        self._start = self._read()
        # Keras on PyTorch updates in place
        torch = keras.backend.backend() == "torch"
        self._value = self._start.clone() if torch else self._start
        self._autocast = False

    @property
    def value(self):
        """The rows of the variable, with the assignments so far."""
        return self._value

    @property
    def dtype(self):
        """The variable's dtype."""
        return keras.backend.standardize_dtype(self._value.dtype)

    @property
    def shape(self):
        """The shape of the rows."""
        return self._value.shape

    @property
    def ndim(self):
        """The variable's rank."""
        return len(self._value.shape)

    @property
    def name(self):
        """The variable's name."""
        return self.source.name

    @property
    def path(self):
        """The variable's path."""
        return self.source.path

    def assign(self, value):
        """Assigns to the view only."""
        self._value = ops.cast(value, self.dtype)
        return self._value

    def assign_add(self, value):
        """Adds to the view only."""
        return self.assign(self._value + value)

    def assign_sub(self, value):
        """Subtracts from the view only."""
        return self.assign(self._value - value)

    def write(self, touched=None):
        """Writes the rows into the variable, and ends the view.

        Args:
            touched: optional bools `(n,)`. Rows where it is False keep the
                values that they had when the view was created.
        """
        value = self._value
        if touched is not None:
            shape = (-1, *[1] * (len(value.shape) - 1))
            touched = ops.reshape(touched, shape)
            value = ops.where(touched, value, self._start)
        if self._rows is None:
            self._viewed.assign(value)
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            slices = tf.IndexedSlices(value, self._rows)
            self._native().scatter_update(slices)
        else:  # PyTorch
            self._native().detach()[self._rows] = value

    def _native(self):
        viewed = self._viewed
        return viewed.value if isinstance(viewed, keras.Variable) else viewed

    def _read(self):
        native, rows = self._native(), self._rows
        if keras.backend.backend() == "torch":
            native = native.detach()
            return native if rows is None else native[rows]
        if keras.backend.backend() == "jax":
            return native
        import tensorflow as tf

        if rows is None:
            return tf.convert_to_tensor(native)
        return tf.gather(native, rows)


def _slices(values, indices, dense_shape, summed):
    import tensorflow as tf

    slices = tf.IndexedSlices(values, indices, dense_shape)
    if summed:
        setattr(slices, _SUMMED, True)
    return slices


def _differs_from_previous(indices):
    import tensorflow as tf

    start = tf.ones_like(indices[:1], "bool")
    return tf.concat([start, indices[1:] != indices[:-1]], axis=0)


def _split(gradient):
    """Returns rows and gradients; remaining slices repeat the last row."""
    import tensorflow as tf

    first = tf.cast(_differs_from_previous(gradient.indices), "int32")
    # a position for each slice: 0, 1, ..., last, last, last
    places = tf.minimum(tf.range(tf.size(first)), tf.reduce_sum(first) - 1)
    return gradient.indices, tf.gather(gradient.values, places)


def _is_touched(gradient):
    axes = range(1, len(gradient.shape))
    return ops.any(ops.not_equal(gradient, 0), axis=tuple(axes))
