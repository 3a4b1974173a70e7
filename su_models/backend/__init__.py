"""Backend-specific code: the only room that asks which backend runs."""

from su_models.backend.assign_if import assign_if
from su_models.backend.autodiff import (
    gradient,
    value_and_gradient,
    value_and_variable_gradient,
    variable_gradient,
)
from su_models.backend.compile import compiled, has_xla
from su_models.backend.random import SeedTensor, normal, seed_words
from su_models.backend.recording_scope import RecordingScope

__all__ = [
    "RecordingScope",
    "SeedTensor",
    "assign_if",
    "compiled",
    "gradient",
    "has_xla",
    "normal",
    "seed_words",
    "value_and_gradient",
    "value_and_variable_gradient",
    "variable_gradient",
]
