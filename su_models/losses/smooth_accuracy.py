"""The smooth accuracy."""

import keras
from keras import ops

from su_models.losses.base import Loss
from su_models.losses.class_probability import (
    class_log_probabilities,
    take_class,
)


@keras.saving.register_keras_serializable(package="su_models")
class SmoothAccuracy(Loss):
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
        dtype: of the result, float32 if None. Sums are in float32 or wider.

    Call arguments:
        y_true: integers `(...)` or `(..., 1)`.
        y_pred: `(..., classes)`.

    Raises:
        ValueError: if the shapes do not fit.

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
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        log_p = class_log_probabilities(y_pred, self.from_logits)
        return -ops.expm1(take_class(log_p, y_true))

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}
