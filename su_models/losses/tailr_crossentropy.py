"""TaiLr: between cross-entropy and accuracy."""

import numbers

import keras
from keras import ops

from su_models.backend.selection import runs_on
from su_models.losses.base import Loss
from su_models.losses.class_probability import (
    class_log_probabilities,
    take_class,
)

_TINY = 1e-30  # keeps the branch that is not taken finite


@keras.saving.register_keras_serializable(package="su_models")
class TaiLrCrossentropy(Loss):
    """Cross-entropy that gives up samples which look like wrong labels.

    Article: https://kexue.fm/archives/9526
        《缓解交叉熵过度自信的一个简明方案》
    Paper: https://arxiv.org/abs/2302.13344

    With p the probability of the target class:

        -log[γ + (1-γ) p] / (1-γ)                                    Eq. (2)

    From cross-entropy, γ = 0, to 1 - p, γ = 1, the smooth error rate. Its
    gradient is that of cross-entropy times a weight, which falls to 0 for
    targets that the model finds impossible:

        p / (γ + (1-γ) p)

    The paper bounds this weight from below, which has no simple integral:

        -max(b, p / (γ + (1-γ) p))_stop_grad log p                   Eq. (8)

    A network trained from scratch wants γ near 0, or it learns nothing at
    first; one that is fine-tuned may have a larger one. `anneal` moves γ
    during training.

    Differs: the article writes -p for γ = 1; that is the limit of Eq. (2)
    less 1.

    A Keras mask of `y_pred` leaves positions out.

    Args:
        gamma: float from 0 to 1, γ.
        min_weight: None for Eq. (2); or float from 0 to 1, the bound b of
            Eq. (8). With 0 the gradient of Eq. (8) is that of Eq. (2), with
            1 it is that of cross-entropy.
        label_smoothing: float from 0 to 1, ε. As in Keras, targets become
            1 - ε + ε/n and ε/n of n classes; the weight is on the first
            part, 1 - ε, alone.
        from_logits: bool. Whether `y_pred` is logits, else probabilities.
        reduction: as in every Keras loss.
        name: optional name.
        dtype: of the result, float32 if None. Sums are in float32 or wider.

    Call arguments:
        y_true: integers `(...)` or `(..., 1)`.
        y_pred: `(..., classes)`.

    Raises:
        ValueError: if a number is out of its range, or the shapes do not
            fit.

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
    ):
        super().__init__(name, reduction, dtype)
        if min_weight is not None:
            _check("min_weight", min_weight)
        _check("label_smoothing", label_smoothing)
        # a variable, so that compiled training sees its changes
        self._gamma = keras.Variable(
            _check("gamma", gamma), "float32", trainable=False, name="gamma"
        )
        self._number = float(gamma)
        self.min_weight = min_weight
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits

    @property
    def gamma(self):
        """γ, a float. On JAX a compiled `fit` keeps the one it began with."""
        return self._number

    @gamma.setter
    def gamma(self, gamma):
        self._gamma.assign(_check("gamma", gamma))
        self._number = float(gamma)

    def anneal(self, schedule):
        """Returns a callback for `fit` that sets γ before each epoch.

        On JAX the train step is compiled anew where γ changes.

        Args:
            schedule: function of the epoch, from 0, that returns γ.

        Returns:
            A `keras.callbacks.Callback`, for a model that was compiled with
            this loss.

        Example:

        >>> loss = su_models.losses.TaiLrCrossentropy(0.0)
        >>> callback = loss.anneal(lambda epoch: min(1.0, 0.1 * epoch))
        >>> callback.on_epoch_begin(3)
        >>> loss.gamma
        0.30000000000000004
        """
        return _Annealing(self, schedule)

    def call(self, y_true, y_pred):
        log_ps = class_log_probabilities(y_pred, self.from_logits)
        log_p = take_class(log_ps, y_true)
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
            "from_logits": self.from_logits,
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
    """Eq. (2), in two forms: exact for γ = 0 and γ → 1, and any p."""
    p = ops.exp(log_p)
    small = ops.minimum(gamma, 0.5)
    near_crossentropy = -ops.where(
        small > 0, ops.log(ops.maximum(small, _TINY) + (1 - small) * p), log_p
    ) / (1 - small)
    rest = ops.clip(1 - gamma, 1e-7, 0.5)
    near_accuracy = -ops.log1p(rest * ops.expm1(log_p)) / rest
    return ops.where(gamma < 0.5, near_crossentropy, near_accuracy)


def _weight(log_p, gamma):
    """p / (γ + (1-γ) p), also where p underflows."""
    return 1.0 / (1.0 - gamma + gamma * ops.exp(ops.minimum(-log_p, 80.0)))


def _check(name, value):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(
            f"`{name}` must be a number from 0 to 1. Received: {name}={value!r}"
        )
    return float(value)
