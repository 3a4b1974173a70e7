"""Wrappers of arbitrary Keras optimizers, and a learning rate schedule."""

from su_models.optimizers.exclude_from_weight_decay import (
    ExcludeFromWeightDecay,
)
from su_models.optimizers.lazy_optimizer import LazyOptimizer
from su_models.optimizers.learning_rate_multipliers import (
    LearningRateMultipliers,
)
from su_models.optimizers.lookahead import Lookahead
from su_models.optimizers.piecewise_linear import PiecewiseLinear
from su_models.optimizers.summed_gradients import SummedGradients

__all__ = [
    "ExcludeFromWeightDecay",
    "LazyOptimizer",
    "LearningRateMultipliers",
    "Lookahead",
    "PiecewiseLinear",
    "SummedGradients",
]
