"""A linear-chain conditional random field (CRF) over scores of labels."""

import keras
from keras import ops

from su_models.backend.indices import nan_outside
from su_models.backend.precision import accumulated_matmul
from su_models.layers.tagging.base import (
    SequenceTagger,
    fold,
    neighbours,
    saved_method,
    share_of_hits,
)


@keras.saving.register_keras_serializable(package="su_models")
class ConditionalRandomField(SequenceTagger):
    """Scores a whole sequence of labels, as one of kⁿ classes.

    Article: https://kexue.fm/archives/5542
        《简明条件随机场CRF介绍（附带纯Keras实现）》
    Article: https://kexue.fm/archives/7196
        《你的CRF层的学习率可能不够大》

    The inputs are a score h(y_t; x) for each label of each step. With a
    learned matrix of transitions g:

        P(y_1, ..., y_n | x) = exp(h(y_1; x) + Σ_(t=1)^(n-1)
                   [g(y_t, y_(t+1)) + h(y_(t+1); x)]) / Z(x)        Eq. (5)

        Z_(t+1) = Z_t G ⊗ H(y_(t+1) | x),   G = e^g,  H = e^h      Eq. (10)

    The recursion is computed with logarithms. The layer returns its inputs;
    only the losses use its weight. `su_models.text.ViterbiDecoder` finds the
    best labels.

    Fine-tuning a pretrained model needs such a small learning rate that g
    hardly changes; article 7196 finds useful transitions with at least 100
    times the model's rate. With `learning_rate_multiplier` λ the transitions
    are `g = λ w`, and w starts as g / λ: under Adam, whose steps do not
    depend on the size of the gradient, g moves λ times as far.

    Masked steps are skipped at any position; their outputs are -inf, and the
    mask is dropped. A label that is impossible at a step may have the score
    -inf. A sequence without real steps has loss 0.

    Differs from bert4keras, which skips steps only at the end, treats a step
    as masked if any of its labels has the score -inf, and has the loss log k
    for a sequence without real steps.

    Args:
        learning_rate_multiplier: number > 0. λ.

    Call arguments:
        inputs: h, `(batch, length, labels)`.
        mask: optional booleans `(batch, length)`; Keras passes the mask that
            an upstream layer attached.

    Returns:
        h, -inf at masked steps.

    Attributes:
        trans: g, `(labels, labels)`, from row to column.
        sparse_loss: function of `y_true`, integers `(batch, length)`, and
            the layer's output that returns `-log P`, `(batch,)`. It ignores
            `y_true` at masked steps.
        dense_loss: the same for one-hot `y_true`, `(batch, length, labels)`.
        sparse_accuracy: function that returns the share of real steps whose
            best label, ignoring transitions, is correct: a scalar.
        dense_accuracy: the same for one-hot `y_true`.

    Raises:
        ValueError: if `learning_rate_multiplier` is not positive, the inputs
            are not of rank 3, or labels do not exist or have another shape.

    Example:

    >>> scores = keras.random.normal((2, 7, 4))
    >>> crf = su_models.layers.ConditionalRandomField()
    >>> outputs = crf(scores)
    >>> labels = keras.ops.zeros((2, 7), "int32")
    >>> tuple(crf.sparse_loss(labels, outputs).shape)
    (2,)

    In a model, which can be saved and loaded together with its loss:

    >>> inputs = keras.Input((None, 8))
    >>> crf = su_models.layers.ConditionalRandomField()
    >>> model = keras.Model(inputs, crf(keras.layers.Dense(4)(inputs)))
    >>> model.compile("adam", crf.sparse_loss, metrics=[crf.sparse_accuracy])
    """

    def _build_transitions(self):
        shape = (self.num_labels, self.num_labels)
        self.transitions = self._add_transitions("trans", shape)

    @property
    def trans(self):
        return self._multiplied(self.transitions)

    @saved_method
    def dense_loss(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        one_hot = self._one_hot(y_true, real, scores.dtype)
        return self._loss(one_hot, scores, real)

    @saved_method
    def sparse_loss(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        labels, inside = self._labels(y_true, real)
        one_hot = ops.one_hot(labels, self.num_labels, dtype=scores.dtype)
        one_hot = self._one_hot(one_hot, real, scores.dtype)
        return nan_outside(self._loss(one_hot, scores, real), inside)

    def _loss(self, one_hot, scores, real):
        """Returns `log Z - score of the labels`, Eq. (7), `(b,)`."""
        trans = self._multiplied(self.transitions, scores.dtype)
        (before, has_before), _ = neighbours(real)
        has_before = ops.expand_dims(has_before, -1)  # (b, n, 1)
        target = _target_score(one_hot, scores, trans, before, has_before)
        first = ops.expand_dims(real, -1) & ~has_before  # (b, n, 1)
        log_z = _log_partition(scores, trans, real, first)
        return ops.where(ops.any(real, axis=1), log_z - target, 0.0)

    @saved_method
    def dense_accuracy(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        one_hot = self._one_hot(y_true, real, scores.dtype)
        return share_of_hits(ops.argmax(one_hot, axis=-1), scores, real)

    @saved_method
    def sparse_accuracy(self, y_true, y_pred):
        scores, real = self._scores(y_pred)
        labels, _ = self._labels(y_true, real)
        return share_of_hits(labels, scores, real)


def _target_score(one_hot, scores, trans, before, has_before):
    """Returns the exponent of Eq. (5) for the given labels, `(b,)`."""
    # an impossible label has the score -inf, and -inf times 0 is NaN
    chosen = ops.where(ops.equal(one_hot, 0), 0.0, scores)
    points = ops.sum(one_hot * chosen, axis=(1, 2))  # (b,)
    previous = ops.take_along_axis(
        one_hot, ops.expand_dims(before, -1), axis=1
    )  # (b, n, k)
    previous = ops.where(has_before, previous, 0.0)
    moves = accumulated_matmul(previous, trans)  # (b, n, k)
    moves = ops.sum(moves * one_hot, axis=(1, 2))  # (b,)
    return points + moves


def _log_partition(scores, trans, real, first):
    """Returns log Z, `(b,)`, by Eq. (10) for its logarithm."""

    def step(log_z, inputs):
        h, real, first = inputs  # (b, k), (b, 1), (b, 1)
        moved = ops.logsumexp(
            ops.expand_dims(log_z, 2) + ops.expand_dims(trans, 0), axis=1
        )  # (b, k)
        following = h + ops.where(first, 0.0, moved)
        return ops.where(real, following, log_z)

    inputs = (
        ops.transpose(scores, (1, 0, 2)),
        ops.transpose(ops.expand_dims(real, -1), (1, 0, 2)),
        ops.transpose(first, (1, 0, 2)),
    )  # (n, b, k), (n, b, 1), (n, b, 1)
    log_z = fold(step, inputs, ops.zeros_like(scores[:, 0]))  # (b, k)
    return ops.logsumexp(log_z, axis=1)
