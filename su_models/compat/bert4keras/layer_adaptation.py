"""bert4keras' layer adaptation (LAMB), around any optimizer."""

import re

import keras
from keras import ops

from su_models.backend.precision import accumulated_sum
from su_models.optimizers.adapted import check_patterns
from su_models.optimizers.base import OptimizerWrapper


@keras.saving.register_keras_serializable(package="su_models.bert4keras")
class LayerAdaptation(OptimizerWrapper):
    """Scales the step of each weight by the norm of the weight.

    Paper: https://arxiv.org/abs/1904.00962

    With w a weight, α the learning rate and αu the step of the inner
    optimizer, including its weight decay:

        w ← w + α u ‖w‖ / ‖u‖

    or w + αu if a norm is 0.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        exclude: list of patterns, found by `re.search` in the path of a
            weight that is not adapted.
        name: optional name.
    """

    def __init__(self, optimizer, exclude=(), name=None, **kwargs):
        super().__init__(optimizer, name, **kwargs)
        check_patterns(exclude, "exclude")
        self.exclude = list(exclude)

    def build(self, variables):
        if self.built:
            return
        check_patterns(self.exclude, "exclude", variables)
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        variables = self._known(grads, trainable_variables)
        rate = ops.maximum(self.learning_rate, keras.config.epsilon())
        before = [ops.copy(ops.convert_to_tensor(v)) for v in variables]
        super().apply(grads, variables)
        for variable, old in zip(variables, before, strict=True):
            if any(re.search(p, variable.path) for p in self.exclude):
                continue
            step = variable.value - old  # α u
            size, length = _norm(old), _norm(step / ops.cast(rate, step.dtype))
            adapts = ops.logical_and(size > 0, length > 0)
            ratio = size / ops.where(adapts, length, 1.0)
            step = step * ops.cast(ops.where(adapts, ratio, 1.0), step.dtype)
            variable.assign(old + step)

    def get_config(self):
        return {**super().get_config(), "exclude": self.exclude}


def _norm(x):
    return ops.sqrt(accumulated_sum(ops.square(x)))
