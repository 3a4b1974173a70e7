import os
import pathlib

import numpy as np
import pytest

from su_models.checkpoints import open_checkpoint
from su_models.checkpoints.families.gpt2 import GPT2
from su_models.models import build_transformer_model
from tests.contract import to_numpy

GOOGLE, OPENAI, TORCH = GPT2.columns


def test_names():
    google, torch = GPT2.names(GOOGLE, 2), GPT2.names(TORCH, 2)
    for name in (
        "gpt/transformer/layer_1/attention/input/LayerNorm/beta",
        "gpt/transformer/layer_1/input/LayerNorm/gamma",
        "gpt/output/LayerNorm/beta",
    ):
        assert name in google
    for name in (
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.h.1.attn.c_attn.bias",
        "transformer.ln_f.weight",
    ):
        assert name in torch
    assert TORCH.canonical("h.0.ln_1.bias") == "transformer.h.0.ln_1.bias"


@pytest.mark.data
def test_a_checkpoint_of_openai_is_loaded():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    folder = folder / "keras_gpt2_toy"
    with open_checkpoint(folder) as checkpoint:
        assert {*checkpoint} == GPT2.names(OPENAI, 3)
        arrays = dict(checkpoint)
    model = build_transformer_model(
        checkpoint_path=folder,
        model="gpt2",
        vocab_size=356,
        hidden_size=15,
        num_hidden_layers=3,
        num_attention_heads=5,
        intermediate_size=60,
        hidden_act="gelu",
        max_position=20,
        final_activation="linear",
    )
    layer = model.get_layer("Transformer-2-MultiHeadSelfAttention")
    key = layer.get_weights()[2]
    stored = arrays["model/h2/attn/c_attn/w"][0, :, 15:30]
    np.testing.assert_array_equal(key, stored.reshape(15, 5, 3))
    logits = to_numpy(model(np.array([[1, 2, 3]])))
    assert logits.shape == (1, 3, 356) and np.isfinite(logits).all()
