"""Weight decay for some variables only."""

import re

import keras

from su_models.optimizers.adapted import adapted, check_patterns
from su_models.optimizers.base import OptimizerWrapper


@keras.saving.register_keras_serializable(package="su_models")
class ExcludeFromWeightDecay(OptimizerWrapper):
    """Excludes variables from weight decay by patterns of their paths.

    Article: https://kexue.fm/archives/7094
        《6个派生优化器的简单介绍及其实现》

    The rate is the inner optimizer's `weight_decay`. Usually biases and the
    scales of normalization layers are excluded.

    Keras' own `exclude_from_weight_decay` searches only the last part of a
    variable's path, and is lost when the model is saved. Here the patterns are
    searched in the whole path, which includes the names of the layers, and
    they are part of the config.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        exclude: list of patterns. A pattern is found by `re.search` in a
            variable's path, such as `"encoder/dense/bias"`.
        name: optional name.

    Raises:
        ValueError: if `exclude` is not a list of regular expressions; when
            the optimizer is built, if a pattern matches no variable.

    Example:

    >>> optimizer = su_models.optimizers.ExcludeFromWeightDecay(
    ...     keras.optimizers.AdamW(1e-3), ["bias$", "normalization"]
    ... )
    """

    def __init__(self, optimizer, exclude, name=None, **kwargs):
        super().__init__(optimizer, name, **kwargs)
        if not isinstance(exclude, (list, tuple)) or not exclude:
            raise ValueError(
                "`exclude` must be a list of patterns. "
                f"Received: exclude={exclude!r}"
            )
        check_patterns(exclude, "exclude")
        self.exclude = list(exclude)

    def build(self, variables):
        if self.built:
            return
        check_patterns(self.exclude, "exclude", variables)
        super().build(variables)

    def _adapted_inner(self):
        return adapted(
            self.inner_optimizer, _Excluded, decay_excluded=self.exclude
        )

    def get_config(self):
        return {**super().get_config(), "exclude": self.exclude}


class _Excluded:
    """Mixin for the inner optimizer of `ExcludeFromWeightDecay`."""

    def _use_weight_decay(self, variable):
        source = self._trainable_variables[self._get_variable_index(variable)]
        if any(re.search(p, source.path) for p in self.decay_excluded):
            return False
        return super()._use_weight_decay(variable)
