"""bert4keras' moving average of the weights, around any optimizer."""

import keras
from keras import ops

from su_models.optimizers.base import OptimizerWrapper
from su_models.utils.checks import check_share


@keras.saving.register_keras_serializable(package="su_models.bert4keras")
class MovingAverage(OptimizerWrapper):
    """Averages the weights exponentially, and swaps them on demand.

    With w_t the weights after step t and m the momentum:

        a_t = m a_(t-1) + (1 - m) w_t,   a_0 = 0

    `apply_ema_weights` sets the weights to a_t / (1 - mᵗ), and
    `reset_old_weights` sets them back. `fit` ends with w_t.

    Keras' own averages (`use_ema=True`) start with the first weights, and
    `fit` ends with the average.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        ema_momentum: float in [0, 1). m.
        name: optional name.
    """

    # `OptimizerWrapper` has a property that sets Keras' momentum
    ema_momentum = None

    def __init__(self, optimizer, ema_momentum=0.999, name=None, **kwargs):
        super().__init__(optimizer, name, **kwargs)
        self.ema_momentum = check_share("ema_momentum", ema_momentum)
        self._old = None

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._averages = self.add_optimizer_variables(variables, "ema")

    def apply(self, grads, trainable_variables=None):
        variables = self._known(grads, trainable_variables)
        super().apply(grads, variables)
        m = self.ema_momentum
        for variable, average in zip(
            self._trainable_variables, self._averages, strict=True
        ):
            average.assign(m * average.value + (1.0 - m) * variable.value)

    def apply_ema_weights(self, bias_correction=True):
        """Sets the weights to their averages.

        Args:
            bias_correction: bool. Whether to divide by 1 - mᵗ.
        """
        scale = 1.0
        if bias_correction:
            t = int(ops.convert_to_numpy(self.iterations))
            scale -= self.ema_momentum**t
        variables = self._trainable_variables
        self._old = [ops.convert_to_numpy(v) for v in variables]
        for variable, average in zip(variables, self._averages, strict=True):
            variable.assign(ops.convert_to_numpy(average) / scale)

    def reset_old_weights(self):
        """Sets the weights to those before `apply_ema_weights`."""
        for variable, old in zip(
            self._trainable_variables, self._old, strict=True
        ):
            variable.assign(old)

    def get_config(self):
        return {**super().get_config(), "ema_momentum": self.ema_momentum}
