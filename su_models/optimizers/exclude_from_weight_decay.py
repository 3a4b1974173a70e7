"""Weight decay for some variables only."""

import re

import keras

from su_models.optimizers.adapted import _adapted, _matching
from su_models.optimizers.wrapper import _OptimizerWrapper


@keras.saving.register_keras_serializable(package="su_models")
class ExcludeFromWeightDecay(_OptimizerWrapper):
    """Keeps an optimizer's weight decay off variables named by patterns.

    Article: https://kexue.fm/archives/7094
        《6个派生优化器的简单介绍及其实现》

    What decays, and by how much, is the inner optimizer's `weight_decay`.
    Biases and the scales of normalizations are what one excludes.

    Keras' own `exclude_from_weight_decay` looks at the last part of a name
    only, and is forgotten when the model is saved. Here the patterns look at
    the path, with the layers' names, and are a part of the config.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        exclude: list of patterns. A pattern is found by `re.search` in a
            variable's path, such as `"encoder/dense/bias"`.
        name: optional name.

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
        _matching(exclude, "exclude")
        self.exclude = list(exclude)

    def build(self, variables):
        if self.built:
            return
        _matching(self.exclude, "exclude", variables)
        super().build(variables)

    def _adapted_inner(self):
        return _adapted(
            self.inner_optimizer, _Excluded, decay_excluded=self.exclude
        )

    def get_config(self):
        return {**super().get_config(), "exclude": self.exclude}


class _Excluded:
    """What `ExcludeFromWeightDecay` changes in the inner optimizer."""

    def _use_weight_decay(self, variable):
        source = self._trainable_variables[self._get_variable_index(variable)]
        if any(re.search(p, source.path) for p in self.decay_excluded):
            return False
        return super()._use_weight_decay(variable)
