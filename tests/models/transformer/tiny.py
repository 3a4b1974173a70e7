"""Tiny transformers of every family, for the tests of this folder."""

import keras
import numpy as np

from su_models.models import build_transformer_model
from su_models.models.transformer.build import MODELS

SIZES = {
    "vocab_size": 31,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "hidden_act": "gelu",
    "max_position": 16,
}
# families with the ids of one sequence as inputs
NAMES = [name for name in MODELS if "t5" not in name]
PAIRS = ["t5", "t5.1.1"]
SIDES = [name for name in MODELS if name.endswith(("_encoder", "_decoder"))]


def tiny(name, **kwargs):
    """Builds a model with random weights that are not small."""
    if name == "gau_alpha":
        kwargs.setdefault("attention_key_size", 6)
    model = build_transformer_model(model=name, **{**SIZES, **kwargs})
    plain = getattr(model, "model", model)
    random = np.random.default_rng(0)
    plain.set_weights(
        [
            # of what it began with only the ones of γ remain
            np.round(w) + random.normal(size=w.shape) * 0.2
            for w in plain.get_weights()
        ]
    )
    return model


def ids(batch=2, length=7):
    """Token ids without padding, the same at every call."""
    random = np.random.default_rng(1)
    return random.integers(1, 31, (batch, length)).astype("int32")


def run(model, tokens, segments=None):
    """Returns the output of a model of one sequence, as NumPy."""
    inputs = [tokens]
    if len(model.inputs) > 1:
        inputs.append(np.zeros_like(tokens) if segments is None else segments)
    outputs = model(inputs if len(inputs) > 1 else tokens)
    return keras.ops.convert_to_numpy(outputs)
