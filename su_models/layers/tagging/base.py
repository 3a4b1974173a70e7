"""Base of the layers that label each token of a sequence."""

import itertools
import weakref

import keras
from keras import ops, tree

from su_models.backend.indices import check_indices
from su_models.backend.precision import sum_dtype
from su_models.backend.shares import check_shares
from su_models.backend.time_loop import has_time_loop, time_loop
from su_models.utils.checks import check_mask, check_positive, check_shape

# All taggers, in the order of their creation. When Keras loads a compiled
# model, it creates the losses after the layers, and finds a loss's layer here
# by its name.
_TAGGERS = weakref.WeakValueDictionary()
_COUNT = itertools.count()


class SequenceTagger(keras.layers.Layer):
    """Base layer that returns scores of labels and defines losses on them.

    The layer sets the scores of masked steps to -inf, so that a loss can
    recover the mask from the outputs. Hence the output has no mask.

    A subclass creates its weights in `_build_transitions` and defines losses
    and accuracies as `saved_method`s.

    Args:
        learning_rate_multiplier: number > 0. The transitions are the weights
            times this number.
    """

    def __init__(self, learning_rate_multiplier=1.0, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate_multiplier = check_positive(
            "learning_rate_multiplier", learning_rate_multiplier
        )
        self.supports_masking = True
        _TAGGERS[next(_COUNT)] = self

    def build(self, input_shape):
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(
                "The inputs must be `(batch, length, labels)`, with a known "
                f"number of labels. Received: input_shape={input_shape}"
            )
        self.num_labels = input_shape[-1]
        self._build_transitions()
        self.built = True

    def _add_transitions(self, name, shape):
        """Returns a weight; its multiple is initialized like a kernel."""
        glorot = keras.initializers.GlorotUniform()

        def initialize(shape, dtype=None):
            return glorot(shape, dtype) / self.learning_rate_multiplier

        return self.add_weight(
            name=name, shape=shape, initializer=initialize, autocast=False
        )

    def _multiplied(self, weight, dtype=None):
        return self.learning_rate_multiplier * ops.cast(
            weight, dtype or weight.dtype
        )

    def call(self, inputs, mask=None):
        check_shape("inputs", inputs, (None, None, self.num_labels))
        if not keras.backend.is_float_dtype(inputs.dtype):
            inputs = ops.cast(inputs, self.compute_dtype)  # for -inf
        if mask is None:
            return inputs
        mask = check_mask("mask", mask)
        check_shape("mask", mask, inputs.shape[:2])
        return ops.where(ops.expand_dims(mask, -1), inputs, float("-inf"))

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return input_shape

    def _scores(self, y_pred):
        """Returns scores, 0 where masked, and a mask of the real steps.

        Args:
            y_pred: the output of the layer, `(b, n, k)`.

        Returns:
            `(scores, real)`: at least float32 `(b, n, k)`; bool `(b, n)`.
        """
        y_pred = ops.convert_to_tensor(y_pred)
        check_shape("y_pred", y_pred, (None, None, self.num_labels))
        if y_pred.shape[1] == 0:
            raise ValueError(
                "`y_pred` must have at least one step. "
                f"Received: y_pred of shape {tuple(y_pred.shape)}"
            )
        wide = sum_dtype(y_pred.dtype)
        # NaN does not count as masked
        real = ops.any(ops.not_equal(y_pred, float("-inf")), axis=-1)
        keep = ops.expand_dims(real, -1)
        return ops.where(keep, ops.cast(y_pred, wide), 0.0), real

    def _labels(self, y_true, real):
        """Returns labels of real steps, 0 elsewhere.

        Args:
            y_true: integers `(b, n)` or `(b, n, 1)`, of any dtype.
            real: bool `(b, n)`.

        Returns:
            `(labels, inside)`: int32 `(b, n)`, and bool `(b,)`, False if a
            label of the sequence does not exist, or None if all labels are
            known to exist.
        """
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == 3 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        check_shape("y_true", y_true, real.shape)
        y_true = ops.where(real, y_true, ops.zeros_like(y_true))
        labels, inside = check_indices("y_true", y_true, self.num_labels)
        return labels, None if inside is None else ops.all(inside, axis=1)

    def _one_hot(self, y_true, real, dtype):
        """Returns one-hot `y_true`, zeros where masked, `(b, n, k)`."""
        y_true = ops.convert_to_tensor(y_true)
        check_shape("y_true", y_true, (*real.shape, self.num_labels))
        keep = ops.expand_dims(real, -1)
        rows = ops.where(keep, ops.cast(y_true, dtype), 0.0)
        return check_shares("y_true", rows, nan=True)

    def get_config(self):
        return {
            **super().get_config(),
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


class saved_method:  # noqa: N801
    """A method that a compiled model can save: `compile(loss=layer.loss)`.

    Keras saves a function by its name, but cannot load bound methods.
    """

    def __init__(self, function):
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, layer, owner=None):
        if layer is None:
            return self
        return TaggerMethod(layer, self.function.__name__)


@keras.saving.register_keras_serializable(package="su_models")
class TaggerMethod:
    """A `saved_method` of a tagger, which Keras can serialize."""

    def __init__(self, layer, method):
        self.layer = layer
        self.__name__ = method
        self._function = getattr(type(layer), method).function
        self.__doc__ = self._function.__doc__

    def __call__(self, y_true, y_pred):
        return self._function(self.layer, y_true, y_pred)

    def get_config(self):
        return {"layer": self.layer.name, "method": self.__name__}

    @classmethod
    def from_config(cls, config):
        made = sorted(_TAGGERS.items(), reverse=True)
        for _, layer in made:  # the newest layer of that name
            if layer.name == config["layer"]:
                return cls(layer, config["method"])
        raise ValueError(
            "The layer of a loss must exist before the loss. "
            f"Received: config={config}"
        )


def neighbours(real):
    """Returns the previous and the next real step of each real step.

    Masked steps are skipped at any position.

    Args:
        real: bool `(b, n)`.

    Returns:
        Two pairs `(index, exists)`, int32 and bool `(b, n)`: the previous
        real step, and the next one. `exists` is False where there is none and
        at masked steps; the index is then that of an arbitrary step.
    """
    b, n = ops.shape(real)
    rank = ops.cumsum(ops.cast(real, "int32"), axis=1) - 1  # (b, n)
    # The real steps first, in their order, and a column for what the masked
    # steps write. No sort: see `backend.sparse_rows`.
    columns = ops.where(real, rank, n)
    rows = ops.arange(b, dtype="int32")[:, None] * (n + 1)
    places = ops.reshape(rows + columns, (-1, 1))
    steps = ops.zeros_like(rank) + ops.arange(n, dtype="int32")
    order = ops.scatter(places, ops.reshape(steps, (-1,)), (b * (n + 1),))
    order = ops.reshape(order, (b, n + 1))
    count = rank[:, -1:] + 1  # (b, 1)
    pairs = []
    for wanted in (rank - 1, rank + 1):
        exists = (wanted >= 0) & (wanted < count) & real
        index = ops.take_along_axis(order, ops.where(exists, wanted, 0), axis=1)
        pairs.append((index, exists))
    return pairs


def fold(step, inputs, state):
    """Applies `state = step(state, x)` to each x and returns the last state.

    Args:
        step: a function of the state and the inputs of one step.
        inputs: nest of tensors `(length, ...)`, with at least one step.
        state: a tensor.
    """
    if has_time_loop():
        state, _ = time_loop(lambda s, x: (step(s, x), ()), inputs, state)
        return state
    for t in range(ops.shape(tree.flatten(inputs)[0])[0]):
        state = step(state, tree.map_structure(lambda x, t=t: x[t], inputs))
    return state


def share_of_hits(labels, scores, real):
    """Returns the share of real steps whose best label is correct.

    Args:
        labels: integers `(b, n)`.
        scores: `(b, n, k)`.
        real: bool `(b, n)`.

    Returns:
        A scalar; 0 if no step is real.
    """
    best = ops.cast(ops.argmax(scores, axis=-1), labels.dtype)
    hits = ops.logical_and(real, ops.equal(best, labels))
    dtype = scores.dtype
    return ops.divide_no_nan(
        ops.sum(ops.cast(hits, dtype)), ops.sum(ops.cast(real, dtype))
    )
