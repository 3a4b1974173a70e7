"""Pure functions of tensors, and the plumbing between the backends."""

from su_models.ops.assign_if import assign_if
from su_models.ops.autodiff import (
    gradient,
    value_and_gradient,
    value_and_variable_gradient,
    variable_gradient,
)
from su_models.ops.compile import compiled, has_xla
from su_models.ops.picture import image_grid
from su_models.ops.random import SeedTensor, normal, seed_words
from su_models.ops.recording_scope import RecordingScope
from su_models.ops.sparse_attention import (
    atrous_attention,
    local_attention,
    sparse_attention,
)
from su_models.ops.split_model import split_model

__all__ = [
    "RecordingScope",
    "SeedTensor",
    "assign_if",
    "atrous_attention",
    "compiled",
    "gradient",
    "has_xla",
    "image_grid",
    "local_attention",
    "normal",
    "seed_words",
    "sparse_attention",
    "split_model",
    "value_and_gradient",
    "value_and_variable_gradient",
    "variable_gradient",
]
