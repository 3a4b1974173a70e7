"""`CASES`: how to construct each public name, and what to feed it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from su_models.models import build_ddpm, build_vae
from su_models.sampling import NoiseSchedule
from tests.contract.base import integers, normal


@dataclasses.dataclass(frozen=True)
class Case:
    """How to construct one public name, and what to feed it.

    init: its constructor arguments; a dict, or a function without arguments
        that returns one (needed where an argument is an object with state,
        such as an optimizer or a layer: each check constructs several).
        What is random must be at work: a dropout rate above 0.
    inputs: layers: an array, or a tuple of arrays, passed by position.
        losses: `(y_true, y_pred)`. regularizers: a kernel. models: as layers.
        sampling: the noise x_T.
    shape: layers: the symbolic shape of `inputs` where the default, unknown
        but for the last axis, cannot be built; a tuple of shapes if `inputs`
        is a tuple.
    sequence: layers: True if axis 1 of `inputs` is a sequence. Then a mask
        from upstream has to make padding unseen at the real positions.
    cell: layers: True for a cell, which is checked in a `keras.layers.RNN`.
    by_sample: losses: False if the samples of a batch are not independent.
    targets: models: False if the model adds its own loss.
    loss: layers: the name of the layer's own loss, if its weights act in that
        alone, and targets for it.
    merges: layers: True if the inputs are passed as one list.
    step: training: what turns a batch `(x, y)` into that of `fit`.
    denoiser: sampling: what is sampled from, if it is no network `(x, t)`.
    """

    init: dict | Callable[[], dict] = dataclasses.field(default_factory=dict)
    inputs: Any = None
    shape: tuple | None = None
    sequence: bool = False
    cell: bool = False
    by_sample: bool = True
    targets: bool = True
    loss: tuple[str, Any] | None = None
    merges: bool = False
    step: Callable | None = None
    denoiser: Callable | None = None


_SMALL_DDPM = {
    "image_shape": (8, 12, 2),
    "widths": (4,),
    "blocks": 1,
    "num_steps": 12,
    "groups": 2,
    "dropout": 0.1,
}

_SMALL_VAE = {
    "image_shape": (4, 5, 2),
    "latent_dim": 3,
    "widths": (6, 7),
    "seed": 5,
}

# One entry a public name, sorted by name. A room that does not exist is empty.
CASES = {
    "layers": {
        "CausalMask": Case(inputs=integers(9, 2, 7)),
        "PrefixMask": Case(inputs=integers(2, 2, 7), shape=(None, None)),
        "PositionIds": Case(inputs=(integers(9, 2, 7), integers(9, 2, 7))),
        "ZeroMasked": Case(inputs=normal(2, 7, 6), sequence=True),
        "Add": Case(
            inputs=(normal(2, 7, 6), normal(2, 7, 6)[::-1].copy()),
            merges=True,
        ),
        "AddTimestep": Case(inputs=(normal(2, 7, 6), normal(2, 6))),
        "AtrousSelfAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rate": 3,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "ConditionalRandomField": Case(
            {"learning_rate_multiplier": 3.0},
            normal(2, 7, 4),
            sequence=True,
            loss=("sparse_loss", integers(4, 2, 7)),
        ),
        "DeepNorm": Case(
            {"alpha": 1.5, "epsilon": 1e-6},
            (normal(2, 7, 6), normal(2, 7, 6)[::-1].copy()),
        ),
        "EfficientGlobalPointer": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rotary_base": 500.0,
                "use_bias": False,
            },
            normal(2, 7, 6),
        ),
        "Embedding": Case(
            {"input_dim": 9, "output_dim": 4, "mask_zero": True},
            integers(9, 2, 7),
            shape=(None, None),
        ),
        "FeedForward": Case(
            {
                "units": 10,
                "activation": ["gelu", "linear"],
                "output_dim": 5,
            },
            normal(2, 7, 6),
            sequence=True,
        ),
        "FiniteScalarQuantizer": Case({"levels": [5, 4, 2]}, normal(2, 7, 3)),
        "FirstToken": Case(inputs=normal(2, 7, 6)),
        "ForwardDiffusion": Case(
            lambda: {"schedule": NoiseSchedule.author(12), "seed": 5},
            normal(4, 3, 5, 2),
        ),
        "GatedAttentionUnit": Case(
            {
                "units": 10,
                "key_dim": 6,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "GlobalPointer": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rotary_base": 500.0,
                "tril_mask": False,
            },
            normal(2, 7, 6),
        ),
        "GumbelSoftmax": Case(
            {"temperature": 0.7, "hard": True, "seed": 5}, normal(2, 7, 6)
        ),
        "LayerNormalization": Case(
            {"conditional": True, "hidden_units": 3, "epsilon": 1e-6},
            (normal(2, 7, 6), normal(2, 5)),
        ),
        "LocalSelfAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "window": 2,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "MaximumEntropyMarkovModel": Case(
            {"learning_rate_multiplier": 3.0, "hidden_dim": 2},
            normal(2, 7, 4),
            sequence=True,
            loss=("dense_loss", np.eye(4)[integers(4, 2, 7)]),
        ),
        "MultiHeadAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "normalization": "softmax_plus",
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "NoisePredictionLoss": Case(
            inputs=(normal(4, 3, 5, 2), normal(4, 3, 5, 2)[::-1].copy())
        ),
        "NormalSampling": Case(
            {"seed": 5}, (normal(2, 7, 6), normal(2, 7, 6)[::-1].copy())
        ),
        "ONLSTM": Case(
            {
                "units": 6,
                "levels": 3,
                "return_distances": True,
                "return_sequences": True,
                "return_state": True,
                "dropconnect": 0.2,
                "recurrent_dropconnect": 0.2,
                "seed": 5,
            },
            normal(2, 7, 5),
            sequence=True,
        ),
        "ONLSTMCell": Case(
            {"units": 6, "levels": 3, "master_input": "paper"},
            normal(2, 7, 5),
            sequence=True,
            cell=True,
        ),
        "PositionEmbedding": Case(
            {"input_dim": 3, "hierarchical": 0.3, "merge_mode": "mul"},
            normal(2, 7, 6),
            sequence=True,
        ),
        "RelativeMultiHeadAttention": Case(
            {
                "num_heads": 6,
                "head_dim": 4,
                "num_key_value_heads": 2,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        # the inputs are a query and a value, of which only lengths count
        "RelativePositionBias": Case(
            {"num_heads": 3, "num_buckets": 4, "max_distance": 3},
            (integers(9, 2, 7), integers(9, 2, 5), integers(9, 2, 7)),
        ),
        "RelativePositionEmbedding": Case(
            {"input_dim": 5, "output_dim": 4},
            (integers(9, 2, 7), integers(9, 2, 5), integers(9, 2, 7)),
        ),
        "ResidualMultiHeadAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rotary_base": 500.0,
                "dropout": 0.2,
                "accumulate": False,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "RotaryEmbedding": Case(
            {"base": 500.0}, normal(2, 7, 3, 6), sequence=True
        ),
        "ScaleOffset": Case(
            {"scale": 0.5, "conditional": True, "hidden_units": 3},
            (normal(2, 7, 6), normal(2, 5)),
        ),
        "SparseSelfAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rate": 3,
                "window": 2,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "SinusoidalPositionEmbedding": Case(
            {"output_dim": 4, "merge_mode": "concat", "base": 500.0},
            normal(2, 7, 6),
            sequence=True,
        ),
        "TimestepEmbedding": Case(
            {"num_steps": 12, "dim": 6}, np.array([1, 12, 5], "int32")
        ),
        "VAELoss": Case(
            {"stddev": 0.7},
            (
                normal(4, 3, 5, 2),
                normal(4, 3, 5, 2)[::-1].copy(),
                normal(4, 6),
                normal(4, 6)[::-1].copy(),
            ),
        ),
        "VectorQuantizer": Case(
            {
                "codebook_size": 5,
                "restart_threshold": 0.5,
                "usage_decay": 0.1,
                "seed": 5,
            },
            normal(2, 7, 6),
            sequence=True,
        ),
        "VectorQuantizerEMA": Case(
            {
                "codebook_size": 5,
                "decay": 0.1,
                "restart_threshold": 0.5,
                "seed": 5,
            },
            normal(2, 7, 6),
            sequence=True,
        ),
        "VonMisesFisherSampling": Case(
            {"kappa": 3.0, "seed": 5}, normal(2, 7, 6)
        ),
    },
    "losses": {
        "MultilabelCrossentropy": Case(
            inputs=(integers(2, 5, 4).astype("float32"), normal(5, 4))
        ),
        "SmoothAccuracy": Case(inputs=(integers(3, 5), normal(5, 3))),
        "SmoothF1": Case(
            {"average": "micro"},
            (integers(2, 5, 4).astype("float32"), normal(5, 4)),
            by_sample=False,
        ),
        "SparseMultilabelCrossentropy": Case(
            {"mask_zero": True}, (integers(4, 5, 2), normal(5, 4))
        ),
        "TaiLrCrossentropy": Case(
            {"gamma": 0.3, "min_weight": 0.1, "label_smoothing": 0.2},
            (integers(3, 5), normal(5, 3)),
        ),
    },
    "optimizers": {
        "ExcludeFromWeightDecay": Case(
            lambda: {
                "optimizer": keras.optimizers.AdamW(0.05, weight_decay=0.01),
                "exclude": ["bias$"],
            }
        ),
        "LazyOptimizer": Case(
            lambda: {
                "optimizer": keras.optimizers.Adam(0.05),
                "moments": "decayed",
                "embeddings": ["kernel"],
            }
        ),
        "LearningRateMultipliers": Case(
            lambda: {
                "optimizer": keras.optimizers.Adam(0.05),
                "multipliers": {"bias$": 2.0, "dense": 0.8},
            }
        ),
        "Lookahead": Case(
            lambda: {
                "optimizer": keras.optimizers.Adam(0.05),
                "sync_period": 3,
                "slow_step_size": 0.8,
            }
        ),
        "PiecewiseLinear": Case(
            {"schedule": [[2, 1.0], [7, 0.25]], "learning_rate": 0.1}
        ),
        "SummedGradients": Case(
            lambda: {"optimizer": keras.optimizers.Adam(0.05)}
        ),
    },
    "regularizers": {
        "MaskedOrthogonality": Case({"factor": 0.3}, normal(5, 3)),
        "SelfOrthogonality": Case(
            {"gamma": 2.0, "l1": 0.5, "l2": 0.7, "average": True},
            normal(5, 3),
        ),
    },
    "training": {
        "AdversarialTraining": Case(
            {
                "embedding": ["tokens"],
                "epsilon": 0.3,
                "steps": 2,
                "include_clean": True,
                "perturb": "outputs",
                "step_size": 0.2,
            }
        ),
        # about the loss at first, ln 3
        "Flooding": Case({"level": 1.05}),
        "GradientPenalty": Case({"embedding": "tokens", "epsilon": 0.7}),
        "ImplicitGradientRegularization": Case({"rate": 0.5}),
        "NoiseInjection": Case(
            {
                "stddev": 0.3,
                "perturb": "outputs",
                "embedding": ["tokens"],
                "seed": 5,
            }
        ),
        "VirtualAdversarialTraining": Case(
            {
                "embedding": "tokens",
                "epsilon": 0.5,
                "xi": 0.3,
                "iters": 1,
                "weight": 0.7,
                "seed": 3,
            },
            step=lambda x, y: (x, y, integers(9, 6, 7)),
        ),
    },
    "sampling": {
        "DDIM": Case(
            lambda: {
                "schedule": NoiseSchedule.author(12),
                "stride": 3,
                "eta": 0.5,
            },
            normal(4, 3, 5),
        ),
        "DDPM": Case(
            lambda: {
                "schedule": NoiseSchedule.author(12),
                "sigma": "posterior",
            },
            normal(4, 3, 5),
        ),
        "Langevin": Case(
            {"step_size": 0.1, "num_steps": 7, "temperature": 0.5},
            normal(4, 3, 5),
        ),
        # a functional of all particles
        "WassersteinFlow": Case(
            {"step_size": 0.1, "num_steps": 7, "temperature": 0.5},
            normal(4, 3, 5),
            denoiser=lambda x: ops.mean(ops.square(x - ops.roll(x, 1, axis=0))),
        ),
    },
    "models": {
        "build_transformer_model": Case(
            {
                "model": "roformer_v2",
                "application": "unilm",
                "vocab_size": 31,
                "hidden_size": 12,
                "num_hidden_layers": 2,
                "num_attention_heads": 3,
                "intermediate_size": 20,
                "hidden_act": "gelu",
                "dropout_rate": 0.1,
            },
            (integers(31, 3, 7), integers(2, 3, 7)),
        ),
        "build_ddpm": Case(
            lambda: dict(_SMALL_DDPM),
            (normal(3, 8, 12, 2), np.array([1, 12, 5], "int32")),
        ),
        "build_ddpm_trainer": Case(
            lambda: {
                "denoiser": build_ddpm(**_SMALL_DDPM),
                "schedule": NoiseSchedule.author(12),
                "seed": 5,
            },
            normal(3, 8, 12, 2),
            targets=False,
        ),
        "build_vae": Case(lambda: dict(_SMALL_VAE), normal(3, 4, 5, 2)),
        "build_vae_trainer": Case(
            lambda: {"vae": build_vae(**_SMALL_VAE), "stddev": 0.7},
            normal(3, 4, 5, 2),
            targets=False,
        ),
    },
}
