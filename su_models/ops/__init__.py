"""Mathematical functions of tensors."""

from su_models.ops.attention_mask import causal_mask, prefix_mask
from su_models.ops.codebook_perplexity import codebook_perplexity
from su_models.ops.deep_norm_coefficients import deep_norm_coefficients
from su_models.ops.hsic import hsic, normalized_hsic
from su_models.ops.minimize_over_simplex import minimize_over_simplex
from su_models.ops.normal_kl import normal_kl
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
from su_models.ops.von_mises_fisher import (
    von_mises_fisher_kl,
    von_mises_fisher_moments,
)

__all__ = [
    "atrous_attention",
    "causal_mask",
    "codebook_perplexity",
    "deep_norm_coefficients",
    "grad_top_k",
    "hsic",
    "local_attention",
    "minimize_over_simplex",
    "normal_kl",
    "normalized_hsic",
    "prefix_mask",
    "smooth_abs",
    "smooth_argmax",
    "smooth_floor",
    "smooth_max",
    "smooth_one_hot",
    "smooth_relu",
    "soft_k_max",
    "sparse_attention",
    "thre_top_k",
    "von_mises_fisher_kl",
    "von_mises_fisher_moments",
]
