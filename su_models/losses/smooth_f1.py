"""The smooth F1 score."""

import keras
from keras import ops

from su_models.backend.keras_mask import mask_of
from su_models.backend.precision import accumulated_mean
from su_models.backend.shares import check_shares
from su_models.losses.base import (
    Loss,
    align,
    check_probabilities,
    hide,
    in_range,
)
from su_models.utils.checks import check_choice, check_flag


@keras.saving.register_keras_serializable(package="su_models")
class SmoothF1(Loss):
    """1 minus the F1 score, with probabilities instead of decisions.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

        F1 ≈ 2 Σ_(x ∈ B) t(x) p(x) / Σ_(x ∈ B) [t(x) + p(x)]        Eq. (14)

    with t the labels, 0 or 1, and p the probabilities. It is exact if all p
    are 0 or 1. It is biased for a small batch, since the denominator is also
    a sum over the batch: train with cross-entropy first, then fine-tune with
    this loss and large batches.

    Differs: the article minimizes -F1; the loss is 1 - F1.

    The loss is one number per batch, so `reduction` has no effect, and
    `sample_weight` weights the samples inside both sums. Positions that a
    Keras mask of `y_pred` excludes are omitted from the sums. A class without
    labels and predictions has F1 = 0.

    Args:
        average: `"macro"`, the mean over the classes (the last axis), or
            `"micro"`, the score of all decisions together.
        from_logits: bool. Whether `y_pred` holds logits; if False,
            probabilities.
        reduction: has no effect; accepted for compatibility with Keras.
        name: optional name.
        dtype: dtype of the result. Defaults to float32, or to float64 if that
            is Keras' `floatx`. Sums are in float32 or wider.

    Call arguments:
        y_true: numbers from 0 to 1, `(batch, ..., classes)`; one class for a
            binary decision. Targets with weight 0, or excluded by a mask, may
            be any number.
        y_pred: of the same shape.

    Raises:
        ValueError: if an argument is invalid, the shapes differ, or a known
            target is not from 0 to 1. A compiled program returns NaN for such
            a target instead.

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
        self.average = check_choice("average", average, ("macro", "micro"))
        self.from_logits = check_flag("from_logits", from_logits)

    def __call__(self, y_true, y_pred, sample_weight=None):
        weights = [sample_weight, mask_of(y_pred)]
        y_true, y_pred, *weights = (
            y if y is None else ops.convert_to_tensor(y, dtype=self.dtype)
            for y in (y_true, y_pred, *weights)
        )
        y_true, rank = self.match(y_true, y_pred), len(y_pred.shape)
        weights = [align(w, y_pred, rank) for w in weights if w is not None]
        for weight in weights:
            y_true = hide(y_true, weight)
            if not self.from_logits:
                y_pred = in_range(y_pred, weight)
        score = self._score(y_true, y_pred, weights)
        return ops.cast(score, self.result_dtype)

    def call(self, y_true, y_pred):
        return self._score(self.match(y_true, y_pred), y_pred, [])

    def _score(self, y_true, y_pred, weights):
        y_true = check_shares("y_true", y_true)
        p = check_probabilities(y_pred, self.from_logits)
        p = ops.sigmoid(p) if self.from_logits else p
        weight = ops.ones_like(p)
        for w in weights:
            weight = weight * w
        last = len(p.shape) - 1
        axes = tuple(range(last if self.average == "macro" else last + 1))
        both = ops.sum(weight * y_true * p, axis=axes)  # (classes,) or ()
        total = ops.sum(weight * (y_true + p), axis=axes)
        # clip, since `maximum` on PyTorch casts float64 to float32
        total = ops.clip(total, keras.backend.epsilon(), float("inf"))
        score = 2.0 * both / total
        return 1.0 - accumulated_mean(score)

    def get_config(self):
        return {
            **super().get_config(),
            "average": self.average,
            "from_logits": self.from_logits,
        }
