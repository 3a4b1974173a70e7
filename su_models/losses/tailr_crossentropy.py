"""TaiLr: a loss between cross-entropy and accuracy."""

import keras
from keras import ops

from su_models.backend.selection import runs_on
from su_models.losses.base import LabelLoss
from su_models.losses.class_probability import (
    class_log_probabilities,
    take_class,
)
from su_models.utils.checks import check_number

_TINY = 1e-30  # keeps the unused branch of `where` finite


@keras.saving.register_keras_serializable(package="su_models")
class TaiLrCrossentropy(LabelLoss):
    """Cross-entropy with small weights for samples that seem mislabeled.

    Article: https://kexue.fm/archives/9526
        《缓解交叉熵过度自信的一个简明方案》
    Paper: https://arxiv.org/abs/2302.13344

    With p the probability of the target class:

        -log[γ + (1-γ) p] / (1-γ)                                    Eq. (2)

    It interpolates between cross-entropy (γ = 0) and the smooth error rate
    1 - p (γ = 1). Its gradient is that of cross-entropy times a weight, which
    approaches 0 for targets that the model considers impossible:

        p / (γ + (1-γ) p)

    The paper bounds this weight from below, for which there is no simple
    closed form:

        -max(b, p / (γ + (1-γ) p))_stop_grad log p                   Eq. (8)

    Training from scratch needs γ near 0, or the network learns nothing at
    first; fine-tuning allows a larger γ. `anneal` changes γ during training.

    Differs: the article uses -p for γ = 1, which is the limit of Eq. (2)
    minus 1.

    Positions that a Keras mask of `y_pred` excludes are ignored.

    Args:
        gamma: float from 0 to 1, γ.
        min_weight: None for Eq. (2); or float from 0 to 1, the bound b of
            Eq. (8). With 0 the gradient of Eq. (8) is that of Eq. (2), with
            1 it is that of cross-entropy.
        label_smoothing: float from 0 to 1, ε. As in Keras, targets become
            1 - ε + ε/n and ε/n for n classes; the weight applies only to the
            part 1 - ε.
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

    >>> loss = su_models.losses.TaiLrCrossentropy(0.1)
    >>> round(float(loss([0], [[-1e4, 0.0]])), 3)  # cross-entropy: 10000
    2.558
    """

    def __init__(
        self,
        gamma,
        min_weight=None,
        label_smoothing=0.0,
        from_logits=True,
        reduction="sum_over_batch_size",
        name="tailr_crossentropy",
        dtype=None,
        ignore_class=None,
    ):
        super().__init__(from_logits, ignore_class, reduction, name, dtype)
        self._number = _check_share("gamma", gamma)
        # a variable, so that compiled training sees its changes
        self._gamma = keras.Variable(
            self._number, dtype="float32", trainable=False, name="gamma"
        )
        self.min_weight = _check_share("min_weight", min_weight, optional=True)
        self.label_smoothing = _check_share("label_smoothing", label_smoothing)

    @property
    def gamma(self):
        """γ, a float. On JAX a compiled `fit` keeps its initial value."""
        return self._number

    @gamma.setter
    def gamma(self, gamma):
        self._number = _check_share("gamma", gamma)
        self._gamma.assign(self._number)

    def anneal(self, schedule):
        """Returns a callback for `fit` that sets γ before each epoch.

        On JAX, each change of γ recompiles the train step.

        Args:
            schedule: function of the epoch, from 0, that returns γ.

        Returns:
            A `keras.callbacks.Callback` for a model that is compiled with
            this loss.

        Example:

        >>> loss = su_models.losses.TaiLrCrossentropy(0.0)
        >>> callback = loss.anneal(lambda epoch: min(1.0, 0.1 * epoch))
        >>> callback.on_epoch_begin(3)
        >>> loss.gamma
        0.30000000000000004
        """
        if not callable(schedule):
            raise ValueError(
                "`schedule` must be a function of the epoch. "
                f"Received: schedule={schedule!r}"
            )
        return _Annealing(self, schedule)

    def of_labels(self, labels, y_pred):
        log_ps = class_log_probabilities(y_pred, self.from_logits)
        log_p = take_class(log_ps, labels)  # (...)
        gamma = ops.cast(ops.convert_to_tensor(self._gamma), log_p.dtype)
        if self.min_weight is None:
            loss = _closed_form(log_p, gamma)
        else:
            weight = ops.maximum(_weight(log_p, gamma), self.min_weight)
            loss = -ops.stop_gradient(weight) * log_p
        if not self.label_smoothing:
            return loss
        uniform = -ops.mean(log_ps, axis=-1)
        smoothing = self.label_smoothing
        return (1.0 - smoothing) * loss + smoothing * uniform

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "min_weight": self.min_weight,
            "label_smoothing": self.label_smoothing,
        }


class _Annealing(keras.callbacks.Callback):
    def __init__(self, loss, schedule):
        super().__init__()
        self.loss, self.schedule = loss, schedule

    def on_epoch_begin(self, epoch, logs=None):
        gamma = self.schedule(epoch)
        if gamma == self.loss.gamma:
            return
        self.loss.gamma = gamma
        if self.model is not None and runs_on("jax"):
            self.model.make_train_function(force=True)
            self.model.make_test_function(force=True)


def _closed_form(log_p, gamma):
    """Returns Eq. (2) in two forms, exact for γ = 0, γ → 1 and any p."""
    p = ops.exp(log_p)
    small = ops.minimum(gamma, 0.5)
    near_crossentropy = -ops.where(
        small > 0, ops.log(ops.maximum(small, _TINY) + (1 - small) * p), log_p
    ) / (1 - small)
    rest = ops.clip(1 - gamma, 1e-7, 0.5)
    near_accuracy = -ops.log1p(rest * ops.expm1(log_p)) / rest
    return ops.where(gamma < 0.5, near_crossentropy, near_accuracy)


def _weight(log_p, gamma):
    """Returns p / (γ + (1-γ) p), even if p underflows."""
    return 1.0 / (1.0 - gamma + gamma * ops.exp(ops.minimum(-log_p, 80.0)))


def _check_share(name, value, optional=False):
    return check_number(name, value, least=0, most=1, optional=optional)
