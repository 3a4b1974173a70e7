"""The gradient penalty that a learning rate implies, added explicitly."""

import keras
from keras import ops

from su_models.backend.compile import uncompiled
from su_models.backend.num_replicas import num_replicas
from su_models.backend.precision import sum_dtype
from su_models.training.base import TrainingWrapper
from su_models.utils.checks import check_not_negative


@keras.saving.register_keras_serializable(package="su_models")
class ImplicitGradientRegularization(TrainingWrapper):
    """Trains on the loss that gradient descent with a given rate follows.

    Article: https://kexue.fm/archives/7787
        《从动力学角度看优化算法（五）：为什么学习率不宜过小？》
    Paper: https://arxiv.org/abs/2009.11162

    Gradient descent with the learning rate γ follows, up to terms of order γ²,
    the gradient flow of

        L~ = L + γ/4 ‖∇_θ L‖²                                        Eq. (4)

    instead of the flow of L. With this loss, a small learning rate gives the
    path of the large rate γ, and any optimizer prefers flat regions of the
    loss. The paper calls it explicit gradient regularization.

    L is the whole loss that `fit` minimizes, including penalties of weights,
    and θ are the trainable weights. The gradient is that of a batch: of each
    part of an accumulated gradient, and of each replica's part under
    `tf.distribute`. `fit` reports L~, evaluation L. The penalty that the
    optimizer's own learning rate implies is not subtracted. The penalty needs
    the dense gradient of each embedding table, so the time of a step grows
    with the size of the tables.

    Args:
        model: a built `keras.Model`. `wrapper.model` is the same object with
            the trained weights.
        rate: float >= 0, γ.
        name: optional name.

    Raises:
        ValueError: if `model` is not built, not a `keras.Model`, a wrapper,
            or has a loss of its own; or if `rate` is negative.

    Example:

    >>> x, y = keras.ops.ones((8, 3)), keras.ops.ones((8, 1))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> wrapper = su_models.training.ImplicitGradientRegularization(
    ...     model, rate=0.1)
    >>> wrapper.compile("sgd", "mse")
    >>> history = wrapper.fit(x, y, epochs=50, verbose=0)
    >>> wrapper.evaluate(x, y, verbose=0) < 1e-3
    True
    """

    def __init__(self, model, rate, **kwargs):
        super().__init__(model, **kwargs)
        self.rate = check_not_negative("rate", rate)

    def _training_loss(self, loss, step):
        theta = self.model.trainable_variables
        if not theta:
            return loss

        def of_values(*values):
            return step.loss(zip(theta, values, strict=True))

        values = [v.value for v in theta]
        twice = uncompiled(step.value_and_gradient)
        loss, gradients = twice(of_values, values)
        dtype = sum_dtype(loss.dtype)
        squares = [ops.sum(ops.square(ops.cast(g, dtype))) for g in gradients]
        # the loss of each replica, and so its gradient, is divided by their
        # number
        factor = self.rate / 4 * num_replicas()
        return ops.cast(loss, dtype) + factor * sum(squares)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}
