"""The multi-label cross-entropy for lists of labels."""

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
    """`MultilabelCrossentropy` with lists of label indices as targets.

    Article: https://kexue.fm/archives/8888
        《GPLinker：基于GlobalPointer的实体关系联合抽取》

    If only a few of 10 000 labels are targets, a list of them, padded to a
    common length, is much smaller than a multi-hot vector. The loss is

        log(1 + Σ_(i ∈ P) e^(-S_i)) + log(1 + Σ_(i ∈ N) e^(S_i))     Eq. (3)

    where P is the list and N are the other labels.

    Differs: the article subtracts the sum over P from the sum over all
    labels, Eq. (5), and loses the others if P dominates the sum. Here the
    multi-hot vector is computed on the device, so that value and gradient
    equal those of `MultilabelCrossentropy`. A label listed twice counts once.

    Positions that a Keras mask of `y_pred` excludes are ignored.

    Args:
        mask_zero: bool. If True, labels count from 1, a 0 in a list is
            padding, and the score of index 0 is ignored. Negative numbers are
            always padding.
        reduction: as in every Keras loss.
        name: optional name.
        dtype: dtype of the result. Defaults to float32, or to float64 if that
            is Keras' `floatx`. Sums are in float32 or wider; label indices
            up to 2²⁴ are exact.
        ignore_class: optional int. This number counts as padding in a list,
            and the label of this index is excluded from both sums.

    Call arguments:
        y_true: integers `(..., most_labels)`, below the number of labels and
            padded with -1. Lists with weight 0, or excluded by a mask, may
            hold any numbers.
        y_pred: scores `(..., labels)`, any real numbers.

    Raises:
        ValueError: if an argument is invalid, the shapes do not fit, the
            number of labels is unknown, or a known target is not a label. A
            compiled program returns NaN for such a target instead.

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
        padding = lists < (1 if self.mask_zero else 0)  # False for NaN
        if self.ignore_class is not None:
            padding = ops.logical_or(
                padding, ops.equal(lists, self.ignore_class)
            )
        lists = ops.where(padding, ops.zeros_like(lists), lists)
        lists, inside = check_indices("y_true", lists, labels)
        chosen = _multi_hot(lists, ops.logical_not(padding), labels)
        chosen = ops.cast(ops.reshape(chosen, ops.shape(y_pred)), y_pred.dtype)
        # an unused label adds e^-inf = 0 to the sum over the others
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
    """Returns `(rows, labels)`, True for each label in the list."""
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
