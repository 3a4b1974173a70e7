"""Pure functions of tensors, and the plumbing between the backends."""

from su_models.ops.assign_if import assign_if
from su_models.ops.autodiff import (
    gradient,
    value_and_gradient,
    value_and_variable_gradient,
    variable_gradient,
)
from su_models.ops.codebook_perplexity import codebook_perplexity
from su_models.ops.compile import compiled, has_xla
from su_models.ops.deep_norm_coefficients import deep_norm_coefficients
from su_models.ops.hsic import hsic, normalized_hsic
from su_models.ops.minimize_over_simplex import minimize_over_simplex
from su_models.ops.normal_kl import normal_kl
from su_models.ops.picture import image_grid
from su_models.ops.random import SeedTensor, normal, seed_words
from su_models.ops.recording_scope import RecordingScope
from su_models.ops.smooth import (
    smooth_abs,
    smooth_argmax,
    smooth_floor,
    smooth_max,
    smooth_one_hot,
    smooth_relu,
)
from su_models.ops.smooth_top_k import grad_top_k, soft_k_max, thre_top_k
from su_models.ops.sparse_attention import (
    atrous_attention,
    local_attention,
    sparse_attention,
)
from su_models.ops.split_model import split_model
from su_models.ops.von_mises_fisher import (
    von_mises_fisher_kl,
    von_mises_fisher_moments,
)

__all__ = [
    "RecordingScope",
    "SeedTensor",
    "assign_if",
    "atrous_attention",
    "codebook_perplexity",
    "compiled",
    "deep_norm_coefficients",
    "grad_top_k",
    "gradient",
    "has_xla",
    "hsic",
    "image_grid",
    "local_attention",
    "minimize_over_simplex",
    "normal",
    "normalized_hsic",
    "normal_kl",
    "seed_words",
    "smooth_abs",
    "smooth_argmax",
    "smooth_floor",
    "smooth_max",
    "smooth_one_hot",
    "smooth_relu",
    "soft_k_max",
    "sparse_attention",
    "split_model",
    "thre_top_k",
    "value_and_gradient",
    "value_and_variable_gradient",
    "variable_gradient",
    "von_mises_fisher_kl",
    "von_mises_fisher_moments",
]
