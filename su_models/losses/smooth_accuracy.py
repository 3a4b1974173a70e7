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
    """Smooth error rate: 1 minus the probability of the target class.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

    Accuracy is the mean of ⟨1_y, onehot(argmax)⟩; with probabilities instead
    of the one-hot vector it is differentiable:

        accuracy ≈ 1/|B| Σ_(x ∈ B) ⟨1_y(x), p(x)⟩                   Eq. (13)

    Unlike cross-entropy, it nearly ignores samples that are predicted very
    wrongly, so it suits nearly trained networks and noisy labels.

    Differs: the article minimizes -accuracy; the loss is 1 - accuracy, which
    is 0 if all samples are correct, and the limit of `TaiLrCrossentropy` for
    γ → 1.

    Positions that a Keras mask of `y_pred` excludes are ignored.

    Args:
        from_logits: bool. Whether `y_pred` holds logits; if False,
            probabilities.
        reduction: as in every Keras loss.
        name: optional name.
        dtype: dtype of the result. Defaults to float32, or to float64 if that
            is Keras' `floatx`. Sums are in float32 or wider.
        ignore_class: optional int. Targets of this class are ignored, as in
            `keras.losses.SparseCategoricalCrossentropy`.

    Call arguments:
        y_true: integers `(...)` or `(..., 1)` in 0, ..., classes - 1. Targets
            with weight 0, or excluded by a mask, may be any number.
        y_pred: `(..., classes)`.

    Raises:
        ValueError: if an argument is invalid, the shapes do not fit, or a
            known target is not a class. A compiled program returns NaN for
            such a target instead.

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
