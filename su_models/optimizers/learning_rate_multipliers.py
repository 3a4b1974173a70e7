"""Learning rates by layer."""

import math
import re

import keras
from keras import ops

from su_models.optimizers.adapted import adapted, check_patterns, copied_as
from su_models.optimizers.base import OptimizerWrapper
from su_models.utils.checks import is_real


@keras.saving.register_keras_serializable(package="su_models")
class LearningRateMultipliers(OptimizerWrapper):
    """Multiplies the learning rate of any optimizer layer by layer.

    Article: https://kexue.fm/archives/6418
        《“让Keras更酷一些！”：分层的学习率和自由的梯度》

    This is useful for fine-tuning, where pretrained layers change less than
    new ones. A variable is updated with the rate λα, where α is the inner
    optimizer's learning rate and λ the product of the multipliers whose
    pattern is found in the variable's path. Decoupled weight decay, which has
    the learning rate as a factor, is multiplied as well. Steps, moments and
    their corrections are those of the inner optimizer.

    Differs: the article trains θ/λ (θ/√λ with SGD) instead of θ, since
    optimizers of Keras 2 could not be changed. `extend_with_parameter_wise_lr`
    of bert4keras multiplies the step, which is equivalent for all optimizers
    whose step is proportional to α.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        multipliers: dict from patterns to numbers > 0. A pattern is found by
            `re.search` in a variable's path, such as `"encoder/dense/bias"`.
            To freeze a layer, set its `trainable` to False instead.
        name: optional name.

    Raises:
        ValueError: if `multipliers` is not such a dict; when the optimizer is
            built, if a pattern matches no variable.

    Example:

    >>> optimizer = su_models.optimizers.LearningRateMultipliers(
    ...     keras.optimizers.Adam(1e-3), {"encoder/": 0.1, "bias$": 2.0}
    ... )
    """

    def __init__(self, optimizer, multipliers, name=None, **kwargs):
        super().__init__(optimizer, name, **kwargs)
        if not isinstance(multipliers, dict) or not multipliers:
            raise ValueError(
                "`multipliers` must be a dict of patterns and numbers. "
                f"Received: multipliers={multipliers!r}"
            )
        check_patterns(multipliers, "multipliers")
        if not all(is_real(x) and x > 0 for x in multipliers.values()):
            raise ValueError(
                "`multipliers` must have numbers > 0 as values. "
                f"Received: multipliers={multipliers!r}"
            )
        self.multipliers = {p: float(x) for p, x in multipliers.items()}

    def build(self, variables):
        if self.built:
            return
        check_patterns(self.multipliers, "multipliers", variables)
        super().build(variables)

    def _adapted_inner(self):
        return adapted(
            self.inner_optimizer,
            _Multiplied,
            rate_multipliers=self.multipliers,
            rate_factor=1.0,
            rate_owner=id(self),  # rejects two wrappers with equal arguments
        )

    def get_config(self):
        return {**super().get_config(), "multipliers": self.multipliers}


class _Multiplied:
    """Mixin for the inner optimizer of `LearningRateMultipliers`."""

    def update_step(self, gradient, variable, learning_rate):
        factor = self._factor(variable)
        if factor != 1:
            learning_rate = ops.multiply(learning_rate, factor)
        super().update_step(gradient, variable, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        step = super()._backend_update_step
        if hasattr(self, "_parallel_update_step"):
            # Keras on PyTorch updates all variables at once with one rate; its
            # class for all backends updates one variable after the other
            for cls in type(self).__mro__:
                if getattr(keras.optimizers, cls.__name__, None) is cls:
                    step = cls._backend_update_step.__get__(self)
                    break
        step(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables):
        groups = {}
        for variable in variables:
            groups.setdefault(self._factor(variable), []).append(variable)
        for factor, group in groups.items():
            scaled = copied_as(self, type(self), rate_factor=factor)
            super(_Multiplied, scaled)._apply_weight_decay(group)

    def _get_current_learning_rate(self):
        rate = super()._get_current_learning_rate()
        if self.rate_factor == 1:
            return rate
        return ops.multiply(rate, self.rate_factor)

    def _factor(self, variable):
        source = self._trainable_variables[self._get_variable_index(variable)]
        return math.prod(
            factor
            for pattern, factor in self.rate_multipliers.items()
            if re.search(pattern, source.path)
        )
