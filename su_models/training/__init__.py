"""Wrappers that train the same model with another loss."""

from su_models.training.adversarial_training import AdversarialTraining
from su_models.training.flooding import Flooding
from su_models.training.gradient_penalty import GradientPenalty
from su_models.training.implicit_gradient_regularization import (
    ImplicitGradientRegularization,
)
from su_models.training.noise_injection import NoiseInjection
from su_models.training.virtual_adversarial_training import (
    VirtualAdversarialTraining,
)

__all__ = [
    "AdversarialTraining",
    "Flooding",
    "GradientPenalty",
    "ImplicitGradientRegularization",
    "NoiseInjection",
    "VirtualAdversarialTraining",
]
