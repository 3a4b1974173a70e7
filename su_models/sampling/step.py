"""The coefficients, network and noise that a sampling step can use."""

import keras
from keras import ops

from su_models.backend.random import normal
from su_models.utils.split_model import split_model


class Step:
    """One step of a sampling loop: its coefficients, network and noise.

    `SamplingLoop.step` receives it.

    Attributes:
        index: int32 scalar, the index of the step, from 0.
        time: scalar, the entry of the sampler's `times`.
        row: float32 `(k,)`, the row of the sampler's `table`.
    """

    def __init__(self, index, network, rows, table, words):
        self.index = index
        self.time = ops.take(rows[0], index, axis=0)
        self.row = ops.take(table, index, axis=0)
        self._network, self._rows, self._words = network, rows, words

    def predict(self, x, index=None):
        """Returns the network's prediction for `x`, float32, shaped like `x`.

        Args:
            x: `(batch, ...)`.
            index: optional int scalar. Index of the step whose time the
                network receives. Defaults to this step. Values that depend
                only on the time are precomputed for all steps.

        Raises:
            ValueError: if the network returns another shape.
        """
        index = self.index if index is None else index
        inputs = [
            _repeat(ops.take(row, index, axis=0), x) for row in self._rows
        ]
        return _check_prediction(self._network.at_step(x, *inputs), x)

    def predict_at(self, x, time):
        """Returns the network's prediction for `x` at any time.

        Args:
            x: `(batch, ...)`.
            time: scalar, of the dtype of `times`.

        Raises:
            ValueError: if the network returns another shape.
        """
        return _check_prediction(self._network.at_time(x, _repeat(time, x)), x)

    def noise(self, x, draw=0):
        """Returns standard normal numbers, float32, of the shape of `x`.

        Args:
            x: `(batch, ...)`.
            draw: int, index of one of the sampler's `draws_per_step`. The
                same index gives the same noise again.
        """
        return normal(ops.shape(x), self._words(self.index, draw))


class Network:
    """A network of a sampler, whose time-dependent part is precomputed.

    The part that depends only on the time is the same for each image of a
    batch, and is computed for all steps at once. In a network of dense layers
    it is a third of the work.

    Args:
        fn: a callable `(x, t)`, or a `keras.Model` with the inputs `[x, t]`
            or only the input `x`.
    """

    def __init__(self, fn):
        self._first, self.at_step, self.at_time = None, fn, fn
        if not isinstance(fn, keras.Model):
            return
        inputs = getattr(fn, "inputs", None) or []
        if len(inputs) == 1:
            self.at_step = self.at_time = lambda x, t: fn(x, training=False)
            return
        self._first, rest = split_model(fn, inputs[1:])
        self.at_step = lambda *inputs: rest([*inputs], training=False)
        self.at_time = lambda x, t: fn([x, t], training=False)

    def rows(self, times):
        """Returns tensors `(n, ...)`, computed from the `n` times."""
        if self._first is None:
            return []
        return keras.tree.flatten(self._first([times], training=False))


def _repeat(row, x):
    """Repeats a row for each image: (...) becomes (b, ...)."""
    return ops.broadcast_to(row, (ops.shape(x)[0], *row.shape))


def _check_prediction(prediction, x):
    if tuple(prediction.shape) != tuple(x.shape):
        raise ValueError(
            "The prediction must have the shape of the input, "
            f"{tuple(x.shape)}. Received: shape={tuple(prediction.shape)}"
        )
    return ops.cast(prediction, "float32")
