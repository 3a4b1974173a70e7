"""The smooth F1 score."""

import keras
from keras import ops

from su_models.losses.base import Loss


@keras.saving.register_keras_serializable(package="su_models")
class SmoothF1(Loss):
    """1 minus the F1 score, with probabilities in place of decisions.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

        F1 ≈ 2 Σ_(x ∈ B) t(x) p(x) / Σ_(x ∈ B) [t(x) + p(x)]        Eq. (14)

    with t the labels, 0 or 1, and p the probabilities. It is exact where p
    is 0 or 1. Of a small batch it is biased, since the denominator is a sum
    over the batch too: train with cross-entropy first, then fine-tune with
    this, and large batches.

    Differs: the article minimizes -F1; this is 1 - F1.

    One number a batch: `reduction` changes nothing, and `sample_weight`
    weighs the samples inside both sums. A Keras mask of `y_pred` leaves
    positions out of them. A class without labels and predictions has F1 = 0.

    Args:
        average: `"macro"`, the mean over the classes (the last axis), or
            `"micro"`, the score of all decisions together.
        from_logits: bool. Whether `y_pred` is logits, else probabilities.
        reduction: for Keras' sake.
        name: optional name.
        dtype: of the result, float32 if None. Sums are in float32 or wider.

    Call arguments:
        y_true: 0 or 1, `(batch, ..., classes)`; one class for a yes or no.
        y_pred: of the same shape.

    Raises:
        ValueError: if `average` is neither, or the shapes differ.

    Example:

    >>> loss = su_models.losses.SmoothF1(from_logits=False)
    >>> round(float(loss([[1], [1], [0]], [[1.0], [0.0], [0.0]])), 4)
    0.3333
    """

    def __init__(
        self,
        average="macro",
        from_logits=True,
        reduction="sum_over_batch_size",
        name="smooth_f1",
        dtype=None,
    ):
        super().__init__(name, reduction, dtype)
        if average not in ("macro", "micro"):
            raise ValueError(
                '`average` must be "macro" or "micro". '
                f"Received: average={average!r}"
            )
        self.average = average
        self.from_logits = from_logits

    def __call__(self, y_true, y_pred, sample_weight=None):
        weights = [sample_weight, getattr(y_pred, "_keras_mask", None)]
        y_true, y_pred, *weights = (
            y if y is None else ops.convert_to_tensor(y, dtype=self.dtype)
            for y in (y_true, y_pred, *weights)
        )
        weights = [_widen(w, y_pred) for w in weights if w is not None]
        score = self._score(y_true, y_pred, weights)
        return ops.cast(score, self._result_dtype)

    def call(self, y_true, y_pred):
        return self._score(y_true, y_pred, [])

    def _score(self, y_true, y_pred, weights):
        if len(y_true.shape) != len(y_pred.shape) or not y_pred.shape:
            raise ValueError(
                "`y_true` and `y_pred` must have the same shape. "
                f"Received: y_true={tuple(y_true.shape)}, "
                f"y_pred={tuple(y_pred.shape)}"
            )
        p = ops.sigmoid(y_pred) if self.from_logits else y_pred
        weight = ops.ones_like(p)
        for w in weights:
            weight = weight * w
        last = len(p.shape) - 1
        axes = tuple(range(last if self.average == "macro" else last + 1))
        both = ops.sum(weight * y_true * p, axis=axes)
        total = ops.sum(weight * (y_true + p), axis=axes)
        score = 2.0 * both / ops.maximum(total, keras.backend.epsilon())
        return 1.0 - ops.mean(score)

    def get_config(self):
        return {
            **super().get_config(),
            "average": self.average,
            "from_logits": self.from_logits,
        }


def _widen(weight, y):
    """Gives weights of samples, or of positions, the missing axes."""
    missing = len(y.shape) - len(weight.shape)
    if missing < 0:
        raise ValueError(
            "`sample_weight` must not have more axes than `y_pred`. "
            f"Received: sample_weight={tuple(weight.shape)}, "
            f"y_pred={tuple(y.shape)}"
        )
    return ops.reshape(weight, (*ops.shape(weight), *(1,) * missing))
