"""The smooth accuracy."""

import keras
from keras import ops

from su_models.losses.base import LabelLoss
from su_models.losses.class_probability import (
    class_log_probabilities,
    take_class,
)


@keras.saving.register_keras_serializable(package="su_models")
class SmoothAccuracy(LabelLoss):
    """The smooth error rate: 1 minus the probability of the right class.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

    Accuracy counts ⟨1_y, onehot(argmax)⟩; with probabilities in place of the
    one-hot vector it has a derivative:

        accuracy ≈ 1/|B| Σ_(x ∈ B) ⟨1_y(x), p(x)⟩                   Eq. (13)

    Unlike cross-entropy it gives up samples that are far from right, so it
    is for networks that are nearly trained, or for noisy labels.

    Differs: the article minimizes -accuracy; this is 1 - accuracy, which is
    0 when all is right, and the limit of `TaiLrCrossentropy` for γ → 1.

    A Keras mask of `y_pred` leaves positions out.

    Args:
        from_logits: bool. Whether `y_pred` is logits, else probabilities.
        reduction: as in every Keras loss.
        name: optional name.
        dtype: of the result. Defaults to float32, or float64 if that is
            Keras' `floatx`. Sums are in float32 or wider.
        ignore_class: optional int. Targets of this number are left out, as
            by that argument of `keras.losses.SparseCategoricalCrossentropy`.

    Call arguments:
        y_true: integers `(...)` or `(..., 1)` in 0, ..., classes - 1. Those
            with the weight 0, or left out by a mask, may be any number.
        y_pred: `(..., classes)`.

    Raises:
        ValueError: if an argument is none of these, the shapes do not fit or
            a known target is no class. Where it is not known, in a compiled
            program, its loss is NaN.

    Example:

    >>> loss = su_models.losses.SmoothAccuracy(from_logits=False)
    >>> round(float(loss([2, 0], [[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]])), 4)
    0.2
    """

    def __init__(
        self,
        from_logits=True,
        reduction="sum_over_batch_size",
        name="smooth_accuracy",
        dtype=None,
        ignore_class=None,
    ):
        super().__init__(from_logits, ignore_class, reduction, name, dtype)

    def of_labels(self, labels, y_pred):
        log_p = class_log_probabilities(y_pred, self.from_logits)
        return -ops.expm1(take_class(log_p, labels))
