"""bert4keras' `optimizers`, over those of Keras and su_models.

`extend_with_*` return functions that make an optimizer: one of Keras, or a
wrapper of su_models. They are called like the classes of bert4keras.
"""

import re

import keras
import numpy as np
from keras import ops

from su_models.compat.bert4keras.backend import piecewise_linear
from su_models.compat.bert4keras.layer_adaptation import LayerAdaptation
from su_models.compat.bert4keras.moving_average import MovingAverage
from su_models.optimizers.exclude_from_weight_decay import (
    ExcludeFromWeightDecay,
)
from su_models.optimizers.lazy_optimizer import LazyOptimizer
from su_models.optimizers.learning_rate_multipliers import (
    LearningRateMultipliers,
)
from su_models.optimizers.lookahead import Lookahead
from su_models.optimizers.piecewise_linear import PiecewiseLinear
from su_models.utils.checks import check_flag

__all__ = [
    "AdaFactor",
    "Adam",
    "Lion",
    "extend_with_exponential_moving_average",
    "extend_with_gradient_accumulation",
    "extend_with_layer_adaptation",
    "extend_with_lazy_optimization",
    "extend_with_lookahead",
    "extend_with_parameter_wise_lr",
    "extend_with_piecewise_linear_lr",
    "extend_with_weight_decay",
    "piecewise_linear",
]

_register = keras.saving.register_keras_serializable("su_models.bert4keras")


@_register
class Adam(keras.optimizers.Adam):
    """Adam with bert4keras' ε and optional correction of the moments' bias.

        w ← w - α m̂ / (√v̂ + ε)

    In Keras' Adam, ε is added to √v before v is corrected.

    Args:
        learning_rate: float, or a schedule.
        beta_1, beta_2: floats in [0, 1).
        epsilon: float > 0. ε.
        bias_correction: bool. Whether m and v are divided by 1 - βᵗ.
        **kwargs: see `keras.optimizers.Adam`; `lr` is `learning_rate`.
    """

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        bias_correction=True,
        **kwargs,
    ):
        super().__init__(
            kwargs.pop("lr", learning_rate), beta_1, beta_2, epsilon, **kwargs
        )
        self.bias_correction = check_flag("bias_correction", bias_correction)

    def update_step(self, gradient, variable, learning_rate):
        def cast(x):
            return ops.cast(x, variable.dtype)

        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        gradient, t = cast(gradient), cast(self.iterations + 1)
        # β is rounded as in the correction, and as in bert4keras
        rates = [1 - float(np.float32(b)) for b in (self.beta_1, self.beta_2)]
        self.assign_add(m, (gradient - m) * rates[0])
        self.assign_add(v, (ops.square(gradient) - v) * rates[1])
        m, v = m.value, v.value
        if self.bias_correction:
            m = m / (1 - ops.power(cast(self.beta_1), t))
            v = v / (1 - ops.power(cast(self.beta_2), t))
        step = cast(learning_rate) * m / (ops.sqrt(v) + self.epsilon)
        self.assign_sub(variable, step)

    def get_config(self):
        correction = self.bias_correction
        return {**super().get_config(), "bias_correction": correction}


@_register
class Lion(keras.optimizers.Lion):
    """`keras.optimizers.Lion` with bert4keras' defaults."""

    def __init__(self, learning_rate=3e-4, beta_1=0.95, beta_2=0.98, **kwargs):
        super().__init__(learning_rate, beta_1, beta_2, **kwargs)


def AdaFactor(  # noqa: N802
    learning_rate=1e-3, epsilon1=1e-30, epsilon2=1e-3, clipping_threshold=1.0
):
    """Returns `keras.optimizers.Adafactor`.

    Differs: bert4keras has first moments (`beta1`), a fixed `beta2`, steps
    that are not scaled by the size of the weights, and factors only large
    matrices.

    Args:
        learning_rate: float; None for min(1/√t, 0.01).
        epsilon1, epsilon2, clipping_threshold: see Keras' `epsilon_1`,
            `epsilon_2`, `clip_threshold`.
    """
    return keras.optimizers.Adafactor(
        0.01 if learning_rate is None else learning_rate,
        epsilon_1=epsilon1,
        epsilon_2=epsilon2,
        clip_threshold=clipping_threshold,
        relative_step=learning_rate is None,
    )


def _extension(extend):
    """Makes `extend_with_...(base, name=None)` of a function.

    Args:
        extend: function of an optimizer and the extension's own arguments,
            which have defaults; it returns the extended optimizer.
    """

    def extend_with(base, name=None):
        own = set(extend.__kwdefaults__)

        def make(*args, **kwargs):
            mine = {k: kwargs.pop(k) for k in own & {*kwargs}}
            return extend(base(*args, **kwargs), **mine)

        make.__name__ = make.__qualname__ = name or "NewOptimizer"
        make.__doc__ = f"Makes an optimizer; also takes {sorted(own)}."
        return make

    extend_with.__name__ = extend_with.__qualname__ = extend.__name__
    extend_with.__doc__ = extend.__doc__
    return extend_with


@_extension
def extend_with_weight_decay(
    optimizer, *, weight_decay_rate=0.01, exclude_from_weight_decay=()
):
    """Returns a function that makes optimizers with decoupled weight decay.

    Its own arguments: `weight_decay_rate=0.01`; and
    `exclude_from_weight_decay=[]`, patterns in paths of weights.
    """
    optimizer.weight_decay = weight_decay_rate
    if not exclude_from_weight_decay:
        return optimizer
    return ExcludeFromWeightDecay(optimizer, [*exclude_from_weight_decay])


@_extension
def extend_with_layer_adaptation(
    optimizer, *, exclude_from_layer_adaptation=()
):
    """Returns a function that makes optimizers with LAMB's step sizes.

    Its own argument: `exclude_from_layer_adaptation=[]`, patterns in paths of
    weights.
    """
    return LayerAdaptation(optimizer, exclude_from_layer_adaptation)


@_extension
def extend_with_piecewise_linear_lr(optimizer, *, lr_schedule=None):
    """Returns a function that makes optimizers with such a learning rate.

    Its own argument: `lr_schedule={0: 1}`, a dict from steps to factors of
    the learning rate.
    """
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    optimizer.learning_rate = PiecewiseLinear(lr_schedule or {0: 1}, rate)
    return optimizer


@_extension
def extend_with_gradient_accumulation(optimizer, *, grad_accum_steps=2):
    """Returns a function that makes optimizers that accumulate gradients.

    Its own argument: `grad_accum_steps=2`, the number of batches of an
    update.
    """
    if grad_accum_steps > 1:
        optimizer.gradient_accumulation_steps = grad_accum_steps
    return optimizer


@_extension
def extend_with_lookahead(
    optimizer, *, steps_per_slow_update=5, slow_step_size=0.5
):
    """Returns a function that makes `su_models.optimizers.Lookahead`.

    Its own arguments: `steps_per_slow_update=5`, `slow_step_size=0.5`.
    """
    return Lookahead(optimizer, steps_per_slow_update, slow_step_size)


@_extension
def extend_with_lazy_optimization(
    optimizer, *, include_in_lazy_optimization=()
):
    """Returns a function that makes `su_models.optimizers.LazyOptimizer`.

    Its own argument: `include_in_lazy_optimization=[]`, names of layers or
    weights.
    """
    if not include_in_lazy_optimization:
        return optimizer
    names = [*include_in_lazy_optimization]
    return LazyOptimizer(optimizer, "decayed", names)


@_extension
def extend_with_exponential_moving_average(optimizer, *, ema_momentum=0.999):
    """Returns a function that makes optimizers with averages of the weights.

    Its own argument: `ema_momentum=0.999`. The optimizers have the methods
    `apply_ema_weights` and `reset_old_weights`.
    """
    return MovingAverage(optimizer, ema_momentum)


@_extension
def extend_with_parameter_wise_lr(optimizer, *, paramwise_lr_schedule=None):
    """Returns a function that makes optimizers with rates of each layer.

    Its own argument: `paramwise_lr_schedule={}`, a dict from parts of paths
    of weights to factors of the learning rate.
    """
    if not paramwise_lr_schedule:
        return optimizer
    factors = {re.escape(k): x for k, x in paramwise_lr_schedule.items()}
    return LearningRateMultipliers(optimizer, factors)
