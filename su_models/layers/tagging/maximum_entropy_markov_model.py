"""A maximum-entropy Markov model (MEMM) over scores of labels."""

import keras
from keras import ops

from su_models.backend.indices import nan_outside
from su_models.backend.precision import accumulated_matmul
from su_models.backend.take_rows import take_rows
from su_models.layers.tagging.base import (
    SequenceTagger,
    neighbours,
    saved_method,
    share_of_hits,
)
from su_models.utils.checks import check_size


@keras.saving.register_keras_serializable(package="su_models")
class MaximumEntropyMarkovModel(SequenceTagger):
    """Predicts each label from that of its neighbour, in both directions.

    Article: https://kexue.fm/archives/7213
        《CRF用过了，不妨再了解下更快的MEMM？》

    The inputs are a score f(y_k; x) for each label of each step. With a
    learned matrix of transitions g:

        P(y_1 | x) = softmax over y_1 of f(y_1; x)
        P(y_k | x, y_(k-1)) = softmax over y_k of
                              g(y_(k-1), y_k) + f(y_k; x)          Eq. (6)

    and the same from right to left, Eq. (8), with the same g. The loss is the
    mean of both cross-entropies. All steps are computed at once, unlike in a
    `ConditionalRandomField`, whose numerator has the same form.
    `su_models.text.ViterbiDecoder` finds the labels with the best numerator.

    With `hidden_dim`, `g = L Rᵀ` has low rank, which suits as many labels as
    a vocabulary has words.

    As in bert4keras the exponents are halved, (g + f) / 2, which does not
    change the ranking of labels.

    Masked steps are skipped at any position; their outputs are -inf, and the
    mask is dropped.

    Differs from bert4keras, which skips steps only at the end.

    Args:
        learning_rate_multiplier: number > 0. The transitions are the weights
            times this number: see `ConditionalRandomField`.
        hidden_dim: int > 0. Rank of the transitions. None: a full matrix.

    Call arguments:
        inputs: f, `(batch, length, labels)`.
        mask: optional booleans `(batch, length)`; Keras passes the mask that
            an upstream layer attached.

    Returns:
        f, -inf at masked steps.

    Attributes:
        trans: g, `(labels, labels)`, from row to column.
        sparse_loss: function of `y_true`, integers `(batch, length)`, and
            the layer's output that returns `(batch,)`; the mean of these is
            the mean loss of a real step of the batch. It ignores `y_true` at
            masked steps.
        dense_loss: the same for one-hot `y_true`, `(batch, length, labels)`.
        sparse_accuracy: function that returns the share of real steps whose
            label is predicted correctly from the neighbour's true label, the
            mean of both directions: a scalar. It reads the transitions, so it
            cannot be a metric of `fit` on JAX, where Keras passes weights
            only to losses.
        dense_accuracy: the same for one-hot `y_true`.

    Raises:
        ValueError: if an argument is not positive, the inputs are not of
            rank 3, or labels do not exist or have another shape.
        NotImplementedError: if an accuracy is used as a metric of `fit` on
            JAX.

    Example:

    >>> scores = keras.random.normal((2, 7, 4))
    >>> memm = su_models.layers.MaximumEntropyMarkovModel(hidden_dim=2)
    >>> outputs = memm(scores)
    >>> labels = keras.ops.zeros((2, 7), "int32")
    >>> tuple(memm.sparse_loss(labels, outputs).shape)
    (2,)
    """

    def __init__(self, learning_rate_multiplier=1.0, hidden_dim=None, **kwargs):
        super().__init__(learning_rate_multiplier, **kwargs)
        self.hidden_dim = check_size("hidden_dim", hidden_dim, optional=True)

    def _build_transitions(self):
        k, d = self.num_labels, self.hidden_dim
        if d is None:
            self.transitions = self._add_transitions("trans", (k, k))
        else:
            self.left = self._add_transitions("l_trans", (k, d))
            self.right = self._add_transitions("r_trans", (k, d))

    @property
    def trans(self):
        if self.hidden_dim is None:
            return self._multiplied(self.transitions)
        left, right = map(self._multiplied, (self.left, self.right))
        return accumulated_matmul(left, ops.transpose(right))

    @saved_method
    def sparse_loss(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        labels, inside = self._labels(y_true, real)
        return nan_outside(self._loss(labels, scores, real), inside)

    @saved_method
    def dense_loss(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        one_hot = self._one_hot(y_true, real, scores.dtype)
        labels = ops.argmax(one_hot, axis=-1)
        known = ~ops.any(ops.isnan(one_hot), axis=(1, 2))
        return nan_outside(self._loss(labels, scores, real), known)

    @saved_method
    def sparse_accuracy(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        labels, _ = self._labels(y_true, real)
        return self._accuracy(labels, scores, real)

    @saved_method
    def dense_accuracy(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        one_hot = self._one_hot(y_true, real, scores.dtype)
        return self._accuracy(ops.argmax(one_hot, axis=-1), scores, real)

    def _loss(self, labels, scores, real):
        chosen = ops.one_hot(labels, self.num_labels, dtype="bool")  # (b, n, k)
        dtype = scores.dtype
        losses = 0.0  # (b, n)
        for logits in self._logits(labels, scores, real):
            # an impossible label has the score -inf, and -inf times 0 is NaN
            target = ops.sum(ops.where(chosen, logits, 0.0), axis=-1)
            losses = losses + (ops.logsumexp(logits, axis=-1) - target) / 2
        losses = ops.sum(ops.where(real, losses, 0.0), axis=1)  # (b,)
        sequences = ops.cast(ops.shape(labels)[0], dtype)
        steps = ops.sum(ops.cast(real, dtype))
        return losses * ops.divide_no_nan(sequences, steps)

    def _accuracy(self, labels, scores, real):
        self._check_weights_can_be_read()
        forward, backward = self._logits(labels, scores, real)
        return (
            share_of_hits(labels, forward, real)
            + share_of_hits(labels, backward, real)
        ) / 2

    def _check_weights_can_be_read(self):
        try:
            [w.value for w in self.weights]  # noqa: B018
        except TypeError as error:  # the trainer has removed the values
            raise NotImplementedError(
                "On JAX, a metric of `fit` or `evaluate` cannot read weights, "
                "but the accuracies of this layer do. Call them with the "
                "result of `predict`, or use TensorFlow or PyTorch. "
                f"Received: layer={self.name}"
            ) from error

    def _logits(self, labels, scores, real):
        """Yields the exponents of both directions, `(b, n, k)` each."""
        previous, following = neighbours(real)
        for pair, from_left in ((previous, True), (following, False)):
            index, exists = pair
            neighbour = ops.take_along_axis(labels, index, axis=1)  # (b, n)
            history = self._history(neighbour, from_left, scores.dtype)
            history = ops.where(ops.expand_dims(exists, -1), history, scores)
            yield (scores + history) / 2

    def _history(self, neighbour, from_left, dtype):
        """Returns g for each label, given the neighbour's, `(b, n, k)`."""
        if self.hidden_dim is None:
            trans = self._multiplied(self.transitions, dtype)
            trans = trans if from_left else ops.transpose(trans)
            return take_rows(trans, neighbour, check=False)
        left = self._multiplied(self.left, dtype)
        right = self._multiplied(self.right, dtype)
        given, made = (left, right) if from_left else (right, left)
        rows = take_rows(given, neighbour, check=False)  # (b, n, hidden_dim)
        return accumulated_matmul(rows, ops.transpose(made))  # (b, n, k)

    def get_config(self):
        return {**super().get_config(), "hidden_dim": self.hidden_dim}
