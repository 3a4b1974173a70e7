"""Keras layers, one idea of an article a class."""

from su_models.layers.attention.atrous_self_attention import (
    AtrousSelfAttention,
)
from su_models.layers.attention.gated_attention_unit import GatedAttentionUnit
from su_models.layers.attention.local_self_attention import LocalSelfAttention
from su_models.layers.attention.multi_head_attention import MultiHeadAttention
from su_models.layers.attention.sparse_self_attention import (
    SparseSelfAttention,
)
from su_models.layers.diffusion.forward_diffusion import ForwardDiffusion
from su_models.layers.diffusion.noise_prediction_loss import (
    NoisePredictionLoss,
)
from su_models.layers.diffusion.timestep_embedding import TimestepEmbedding
from su_models.layers.position.position_embedding import PositionEmbedding
from su_models.layers.position.relative_position_bias import (
    RelativePositionBias,
)
from su_models.layers.position.relative_position_embedding import (
    RelativePositionEmbedding,
)
from su_models.layers.position.rotary_embedding import RotaryEmbedding
from su_models.layers.position.sinusoidal_position_embedding import (
    SinusoidalPositionEmbedding,
)

__all__ = [
    "AtrousSelfAttention",
    "ForwardDiffusion",
    "GatedAttentionUnit",
    "LocalSelfAttention",
    "MultiHeadAttention",
    "NoisePredictionLoss",
    "PositionEmbedding",
    "RelativePositionBias",
    "RelativePositionEmbedding",
    "RotaryEmbedding",
    "SparseSelfAttention",
    "SinusoidalPositionEmbedding",
    "TimestepEmbedding",
]
