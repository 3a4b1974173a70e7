"""Flooding: training that keeps the loss near a level above zero."""

import keras
from keras import ops

from su_models.backend.num_replicas import num_replicas
from su_models.backend.precision import sum_dtype
from su_models.training.base import TrainingWrapper
from su_models.utils.checks import check_not_negative


@keras.saving.register_keras_serializable(package="su_models")
class Flooding(TrainingWrapper):
    """Minimizes the training loss above a level, and maximizes it below.

    Article: https://kexue.fm/archives/7643
        《我们真的需要把训练集的损失降低到零吗？》
    Paper: https://arxiv.org/abs/2002.08709

        L~ = |L - b| + b                                             Eq. (1)

    L is the mean loss of the batch. Below b the gradient changes its sign (at
    b it is zero), so the loss oscillates around b. One step down and one step
    up with a learning rate ε are equivalent to a step on a gradient penalty,
    towards flat regions of the loss:

        θ ← θ - ε²/2 ∇‖∇L‖²                                          Eq. (3)

    With b = 0 training does not change, as long as L is not negative. `fit`
    reports L~; evaluation and validation report L.

    Penalties of weights (such as `kernel_regularizer`) are not part of L: they
    are added to L~, and always minimized. Losses that depend on the data, such
    as a layer's `add_loss` or an `activity_regularizer`, are part of L.
    Flooding applies to each batch: to each part of an accumulated gradient,
    and to each replica's part under `tf.distribute`.

    Args:
        model: a built `keras.Model`. `wrapper.model` is the same object with
            the trained weights.
        level: float >= 0, b. The paper selects one of 0.00, 0.01, ..., 0.10
            on a validation set.
        name: optional name.

    Raises:
        ValueError: if `model` is not built, not a `keras.Model`, a wrapper,
            or has a loss of its own; or if `level` is negative.

    Example:

    >>> x, y = keras.ops.ones((8, 3)), keras.ops.ones((8, 1))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> wrapper = su_models.training.Flooding(model, level=0.1)
    >>> wrapper.compile("sgd", "mse")
    >>> loss = wrapper.fit(x, y, epochs=50, verbose=0).history["loss"]
    >>> min(loss) >= 0.1
    True
    """

    def __init__(self, model, level, **kwargs):
        super().__init__(model, **kwargs)
        self.level = check_not_negative("level", level)

    _again = False

    def _training_loss(self, loss, step):
        replicas = num_replicas()  # Keras divides each replica's loss by it
        dtype = sum_dtype(loss.dtype)
        loss = ops.cast(loss, dtype)
        penalty = ops.zeros((), dtype)
        for v in self.model.trainable_variables:
            if v.regularizer is not None:
                own = ops.sum(ops.cast(v.regularizer(v), dtype))
                penalty = penalty + own / replicas
        level = self.level / replicas
        above = loss - penalty - level
        # the gradient of `abs` at 0 is 1 on JAX
        above = above * ops.stop_gradient(ops.sign(above))
        return above + level + penalty

    def get_config(self):
        return {**super().get_config(), "level": self.level}
