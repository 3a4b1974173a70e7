"""The multi-label cross-entropy of lists of labels."""

import keras
import numpy as np
from keras import ops

from su_models.backend.indices import check_indices, nan_outside
from su_models.backend.match_axes import match_axes
from su_models.losses.base import Loss
from su_models.losses.multilabel_crossentropy import log_sum_of_both
from su_models.utils.checks import check_flag, check_integer


@keras.saving.register_keras_serializable(package="su_models")
class SparseMultilabelCrossentropy(Loss):
    """`MultilabelCrossentropy` whose targets are the numbers of the labels.

    Article: https://kexue.fm/archives/8888
        《GPLinker：基于GlobalPointer的实体关系联合抽取》

    Of 10 000 labels few are right: a list of those, padded to one length, is
    all that has to be made and moved to the device. Its loss is

        log(1 + Σ_(i ∈ P) e^(-S_i)) + log(1 + Σ_(i ∈ N) e^(S_i))     Eq. (3)

    where only P, the list, and all labels are known.

    Differs: the article subtracts the sum over P from the sum over all,
    Eq. (5), and loses the others where P outweighs them. Here the list is
    marked on the device, so that value and gradient are those of
    `MultilabelCrossentropy`. A label listed twice counts once.

    A Keras mask of `y_pred` leaves positions out.

    Args:
        mask_zero: bool. If True the labels count from 1, a 0 in a list is
            padding, and the score number 0 is not used. A negative number is
            padding in any case.
        reduction: as in every Keras loss.
        name: optional name.
        dtype: of the result. Defaults to float32, or float64 if that is
            Keras' `floatx`. Sums are in float32 or wider; label numbers up
            to 2²⁴ are exact.
        ignore_class: optional int. In a list this number is padding, and a
            label of this number is left out of both sums.

    Call arguments:
        y_true: integers `(..., most_labels)`, below the number of labels and
            padded by -1. Lists with the weight 0, or left out by a mask, may
            hold any numbers.
        y_pred: scores `(..., labels)`, any real numbers.

    Raises:
        ValueError: if an argument is none of these, the shapes do not fit,
            the number of labels is unknown, or a known target is no label.
            Where it is not known, in a compiled program, its loss is NaN.

    Example:

    >>> loss = su_models.losses.SparseMultilabelCrossentropy()
    >>> round(float(loss([[0, 2, -1, -1]], [[9.0, -9.0, 0.0]])), 4)
    0.6933
    """

    def __init__(
        self,
        mask_zero=False,
        reduction="sum_over_batch_size",
        name="sparse_multilabel_crossentropy",
        dtype=None,
        ignore_class=None,
    ):
        super().__init__(name, reduction, dtype)
        self.mask_zero = check_flag("mask_zero", mask_zero)
        self.ignore_class = check_integer(
            "ignore_class", ignore_class, optional=True
        )

    def match(self, y_true, y_pred):
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if len(shapes[0]) != len(shapes[1]) or not shapes[1]:
            raise ValueError(
                "`y_true` must have as many axes as `y_pred`. "
                f"Received: y_true={shapes[0]}, y_pred={shapes[1]}"
            )
        if shapes[1][-1] is None:
            raise ValueError(
                "The last axis of `y_pred` must be known. "
                f"Received: y_pred={shapes[1]}"
            )
        return match_axes("y_true", y_true, y_pred, len(shapes[1]) - 1)

    def call(self, y_true, y_pred):
        lists, labels = self.match(y_true, y_pred), y_pred.shape[-1]
        padding = lists < (1 if self.mask_zero else 0)  # NaN is none
        whole = ops.equal(lists, ops.floor(lists))
        padding = ops.logical_and(padding, whole)  # nor is 0.5
        if self.ignore_class is not None:
            padding = ops.logical_or(
                padding, ops.equal(lists, self.ignore_class)
            )
        lists = ops.where(padding, ops.zeros_like(lists), lists)
        lists, inside = check_indices("y_true", lists, labels)
        chosen = _multi_hot(lists, ops.logical_not(padding), labels)
        chosen = ops.cast(ops.reshape(chosen, ops.shape(y_pred)), y_pred.dtype)
        # what is in neither sum weighs nothing as one of the others
        unused = np.arange(labels) == self.ignore_class
        unused |= self.mask_zero & (np.arange(labels) == 0)
        if unused.any():
            y_pred = ops.where(unused, float("-inf"), y_pred)
        loss = log_sum_of_both(chosen, y_pred)
        if inside is None:
            return loss
        return nan_outside(loss, ops.all(inside, axis=-1))

    def get_config(self):
        return {
            **super().get_config(),
            "mask_zero": self.mask_zero,
            "ignore_class": self.ignore_class,
        }


def _multi_hot(lists, valid, labels):
    """Returns `(rows, labels)`: whether the label is in the list."""
    length = ops.shape(lists)[-1]
    lists, valid = (ops.reshape(x, (-1, length)) for x in (lists, valid))
    rows = ops.shape(lists)[0]
    row = ops.broadcast_to(ops.arange(rows)[:, None], (rows, length))
    index = ops.stack([row, lists], axis=-1)  # (rows, length, 2)
    counts = ops.scatter(
        ops.reshape(index, (-1, 2)),
        ops.reshape(ops.cast(valid, "float32"), (-1,)),
        (rows, labels),
    )
    return counts > 0
