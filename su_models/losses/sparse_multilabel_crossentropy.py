"""The multi-label cross-entropy of lists of labels."""

import keras
from keras import ops

from su_models.losses.multilabel_crossentropy import MultilabelCrossentropy


@keras.saving.register_keras_serializable(package="su_models")
class SparseMultilabelCrossentropy(MultilabelCrossentropy):
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
        dtype: of the result, float32 if None. Sums are in float32 or wider;
            label numbers up to 2²⁴ are exact.

    Call arguments:
        y_true: integers `(..., most_labels)`, padded by -1.
        y_pred: scores `(..., labels)`, any real numbers.

    Raises:
        ValueError: if the shapes differ in rank, have no axis, or the number
            of labels is unknown.

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
    ):
        super().__init__(reduction, name, dtype)
        self.mask_zero = mask_zero

    def call(self, y_true, y_pred):
        y_true, y_pred = map(ops.convert_to_tensor, (y_true, y_pred))
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if len(shapes[0]) != len(shapes[1]) or not shapes[1]:
            raise ValueError(
                "`y_true` must have as many axes as `y_pred`. "
                f"Received: y_true={shapes[0]}, y_pred={shapes[1]}"
            )
        labels = shapes[1][-1]
        if labels is None:
            raise ValueError(
                "The last axis of `y_pred` must be known. "
                f"Received: y_pred={shapes[1]}"
            )
        chosen = _multi_hot(ops.cast(y_true, "int32"), labels, self.mask_zero)
        chosen = ops.cast(ops.reshape(chosen, ops.shape(y_pred)), y_pred.dtype)
        if self.mask_zero:  # number 0 is of the others, and weighs nothing
            unused = ops.full_like(y_pred[..., :1], float("-inf"))
            y_pred = ops.concatenate([unused, y_pred[..., 1:]], axis=-1)
        return super().call(chosen, y_pred)

    def get_config(self):
        return {**super().get_config(), "mask_zero": self.mask_zero}


def _multi_hot(lists, labels, mask_zero):
    """Returns `(rows, labels)`: whether the label is in the list."""
    lists = ops.reshape(lists, (-1, ops.shape(lists)[-1]))
    rows, length = ops.shape(lists)
    valid = lists >= (1 if mask_zero else 0)
    row = ops.broadcast_to(ops.arange(rows)[:, None], (rows, length))
    index = ops.stack([row, ops.where(valid, lists, 0)], axis=-1)
    counts = ops.scatter(
        ops.reshape(index, (-1, 2)),
        ops.reshape(ops.cast(valid, "float32"), (-1,)),
        (rows, labels),
    )
    return counts > 0
