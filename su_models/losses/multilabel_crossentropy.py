"""Softmax and cross-entropy, for several labels at once."""

import keras
from keras import ops

from su_models.losses.base import Loss

_NONE = float("-inf")  # log 0; the 0 beside it keeps log-sum-exps finite


@keras.saving.register_keras_serializable(package="su_models")
class MultilabelCrossentropy(Loss):
    """Scores of right labels above 0, all others below, in one log-sum-exp.

    Article: https://kexue.fm/archives/7359
        《将“Softmax+交叉熵”推广到多标签分类问题》
    Article: https://kexue.fm/archives/9064
        《多标签“Softmax+交叉熵”的软标签版本》
    Paper: https://arxiv.org/abs/2208.02955

    With the scores s_i, the right labels Ω_pos and the others Ω_neg:

        log(1 + Σ_(i ∈ Ω_neg) e^(s_i)) + log(1 + Σ_(j ∈ Ω_pos) e^(-s_j))
                                                       Eq. (11) of 7359

    In place of many binary decisions it compares right and wrong labels in
    pairs, so that few right labels among many need no weights. With labels
    t_i between 0 and 1 (label smoothing, mixup) it is

        log(1 + Σ_i (1 - t_i) e^(s_i)) + log(1 + Σ_i t_i e^(-s_i))
                                                        Eq. (5) of 9064

    whose minimum is where t_i = σ(2 s_i): that, not σ(s_i), is a probability.
    Predicted are the labels with s_i > 0.

    Differs: labels that are 0 or 1 are left out of the other sum exactly,
    not by a large constant, so a score of -1e9 (a masked label) is harmless.

    A Keras mask of `y_pred` leaves positions out.

    Args:
        reduction: as in every Keras loss.
        name: optional name.
        dtype: of the result, float32 if None. Sums are in float32 or wider.

    Call arguments:
        y_true: numbers from 0 to 1, `(..., labels)`.
        y_pred: scores `(..., labels)`, any real numbers: put no sigmoid or
            softmax on them.

    Raises:
        ValueError: if the shapes differ in rank, or have no axis.

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
        y_true, y_pred = map(ops.convert_to_tensor, (y_true, y_pred))
        if len(y_true.shape) != len(y_pred.shape) or not y_pred.shape:
            raise ValueError(
                "`y_true` and `y_pred` must have the same shape. "
                f"Received: y_true={tuple(y_true.shape)}, "
                f"y_pred={tuple(y_pred.shape)}"
            )
        return _one_plus(1.0 - y_true, y_pred) + _one_plus(y_true, -y_pred)


def _one_plus(weights, scores):
    """Returns log(1 + Σ w e^s), without the terms whose weight is 0."""
    some = weights > 0
    log_weights = ops.log(ops.where(some, weights, 1.0))
    terms = ops.where(some, scores + log_weights, _NONE)
    one = ops.zeros_like(scores[..., :1])
    return ops.logsumexp(ops.concatenate([terms, one], axis=-1), axis=-1)
