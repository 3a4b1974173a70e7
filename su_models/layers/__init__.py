"""Keras layers; each class implements one idea of an article."""

from su_models.layers.attention.atrous_self_attention import (
    AtrousSelfAttention,
)
from su_models.layers.attention.causal_mask import CausalMask
from su_models.layers.attention.gated_attention_unit import GatedAttentionUnit
from su_models.layers.attention.local_self_attention import LocalSelfAttention
from su_models.layers.attention.multi_head_attention import MultiHeadAttention
from su_models.layers.attention.prefix_mask import PrefixMask
from su_models.layers.attention.relative_multi_head_attention import (
    RelativeMultiHeadAttention,
)
from su_models.layers.attention.residual_multi_head_attention import (
    ResidualMultiHeadAttention,
)
from su_models.layers.attention.sparse_self_attention import (
    SparseSelfAttention,
)
from su_models.layers.core.embedding import Embedding
from su_models.layers.core.feed_forward import FeedForward
from su_models.layers.core.zero_masked import ZeroMasked
from su_models.layers.diffusion.add_timestep import AddTimestep
from su_models.layers.diffusion.forward_diffusion import ForwardDiffusion
from su_models.layers.diffusion.noise_prediction_loss import (
    NoisePredictionLoss,
)
from su_models.layers.diffusion.timestep_embedding import TimestepEmbedding
from su_models.layers.merging.add import Add
from su_models.layers.normalization.deep_norm import DeepNorm
from su_models.layers.normalization.layer_normalization import (
    LayerNormalization,
)
from su_models.layers.normalization.scale_offset import ScaleOffset
from su_models.layers.pooling.first_token import FirstToken
from su_models.layers.position.position_embedding import PositionEmbedding
from su_models.layers.position.position_ids import PositionIds
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
from su_models.layers.quantization.finite_scalar_quantizer import (
    FiniteScalarQuantizer,
)
from su_models.layers.quantization.vector_quantizer import VectorQuantizer
from su_models.layers.quantization.vector_quantizer_ema import (
    VectorQuantizerEMA,
)
from su_models.layers.recurrent.on_lstm import ONLSTM, ONLSTMCell
from su_models.layers.stochastic.gumbel_softmax import GumbelSoftmax
from su_models.layers.stochastic.normal_sampling import NormalSampling
from su_models.layers.stochastic.vae_loss import VAELoss
from su_models.layers.stochastic.von_mises_fisher_sampling import (
    VonMisesFisherSampling,
)
from su_models.layers.tagging.conditional_random_field import (
    ConditionalRandomField,
)
from su_models.layers.tagging.efficient_global_pointer import (
    EfficientGlobalPointer,
)
from su_models.layers.tagging.global_pointer import GlobalPointer
from su_models.layers.tagging.maximum_entropy_markov_model import (
    MaximumEntropyMarkovModel,
)

__all__ = [
    "Add",
    "AddTimestep",
    "AtrousSelfAttention",
    "CausalMask",
    "ConditionalRandomField",
    "DeepNorm",
    "EfficientGlobalPointer",
    "Embedding",
    "FeedForward",
    "FiniteScalarQuantizer",
    "FirstToken",
    "ForwardDiffusion",
    "GatedAttentionUnit",
    "GlobalPointer",
    "GumbelSoftmax",
    "LayerNormalization",
    "LocalSelfAttention",
    "MaximumEntropyMarkovModel",
    "MultiHeadAttention",
    "NoisePredictionLoss",
    "NormalSampling",
    "ONLSTM",
    "ONLSTMCell",
    "PositionEmbedding",
    "PositionIds",
    "PrefixMask",
    "RelativeMultiHeadAttention",
    "RelativePositionBias",
    "RelativePositionEmbedding",
    "ResidualMultiHeadAttention",
    "RotaryEmbedding",
    "ScaleOffset",
    "SinusoidalPositionEmbedding",
    "SparseSelfAttention",
    "TimestepEmbedding",
    "VAELoss",
    "VectorQuantizer",
    "VectorQuantizerEMA",
    "VonMisesFisherSampling",
    "ZeroMasked",
]
