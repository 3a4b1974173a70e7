"""Softmax cross-entropy for several labels at once."""

import keras
from keras import ops

from su_models.losses.base import Loss, check_shares

_NONE = float("-inf")  # log 0; the additional 0 keeps log-sum-exps finite


@keras.saving.register_keras_serializable(package="su_models")
class MultilabelCrossentropy(Loss):
    """Pushes scores of the target labels above 0, and all others below 0.

    Article: https://kexue.fm/archives/7359
        《将“Softmax+交叉熵”推广到多标签分类问题》
    Article: https://kexue.fm/archives/9064
        《多标签“Softmax+交叉熵”的软标签版本》
    Paper: https://arxiv.org/abs/2208.02955

    With the scores s_i, the target labels Ω_pos and the others Ω_neg:

        log(1 + Σ_(i ∈ Ω_neg) e^(s_i)) + log(1 + Σ_(j ∈ Ω_pos) e^(-s_j))
                                                       Eq. (11) of 7359

    Instead of many binary decisions, the loss compares target labels with
    others in pairs, so that a few targets among many labels need no class
    weights. With labels t_i between 0 and 1 (label smoothing, mixup) it is

        log(1 + Σ_i (1 - t_i) e^(s_i)) + log(1 + Σ_i t_i e^(-s_i))
                                                        Eq. (5) of 9064

    which is minimal at t_i = σ(2 s_i), so σ(2 s_i), not σ(s_i), estimates a
    probability. The labels with s_i > 0 are predicted.

    Differs: labels that are 0 or 1 are excluded from the other sum exactly,
    not by a large constant, so a score of -1e9 (a masked label) is harmless.

    Positions that a Keras mask of `y_pred` excludes are ignored.

    Args:
        reduction: as in every Keras loss.
        name: optional name.
        dtype: dtype of the result. Defaults to float32, or to float64 if that
            is Keras' `floatx`. Sums are in float32 or wider.

    Call arguments:
        y_true: numbers from 0 to 1, of the shape of `y_pred`. Targets with
            weight 0, or excluded by a mask, may be any number.
        y_pred: scores `(..., labels)`, any real numbers, without sigmoid or
            softmax.

    Raises:
        ValueError: if the shapes differ or have no axis, or a known target
            is not from 0 to 1. A compiled program returns NaN for such a
            target instead.

    Example:

    >>> loss = su_models.losses.MultilabelCrossentropy()
    >>> round(float(loss([[1, 0, 1]], [[9.0, -9.0, 0.0]])), 4)
    0.6933
    """

    def __init__(
        self,
        reduction="sum_over_batch_size",
        name="multilabel_crossentropy",
        dtype=None,
    ):
        super().__init__(name, reduction, dtype)

    def call(self, y_true, y_pred):
        y_true = check_shares(self.match(y_true, y_pred))
        loss = log_sum_of_both(y_true, y_pred)
        # the sums would ignore a NaN target, since it has no weight
        wrong = ops.any(ops.isnan(y_true), axis=-1)
        return ops.where(wrong, float("nan"), loss)


def log_sum_of_both(y_true, y_pred):
    """Returns the loss of each sample by Eq. (5), `(...)`."""
    return _one_plus(1.0 - y_true, y_pred) + _one_plus(y_true, -y_pred)


def _one_plus(weights, scores):
    """Returns log(1 + Σ w e^s), without the terms whose weight is 0."""
    some = weights > 0
    log_weights = ops.log(ops.where(some, weights, 1.0))
    terms = ops.where(some, scores + log_weights, _NONE)
    one = ops.zeros_like(scores[..., :1])  # (..., 1)
    return ops.logsumexp(ops.concatenate([terms, one], axis=-1), axis=-1)
