import os
import pathlib

import numpy as np
import pytest

from su_models.checkpoints import open_checkpoint
from su_models.checkpoints.families.llama import LLAMA
from su_models.models import build_transformer_model
from tests.contract import to_numpy

META, TF1, TORCH = LLAMA.columns
# of a story that llama2.c tells from its first token on, see the data's README
STORY = [403, 407, 261, 378, 432, 383, 286, 261, 376, 298]


def test_names():
    torch = LLAMA.names(TORCH, 2)
    for name in (
        "model.embed_tokens.weight",
        "model.layers.1.self_attn.q_proj.weight",
        "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.1.input_layernorm.weight",
        "model.layers.1.post_attention_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
    ):
        assert name in torch
    assert "llama/layer_1/attention/wq/kernel" in LLAMA.names(TF1, 2)


def test_queries_and_keys_alone_are_rotated_in_halves():
    layer = "Transformer-0-MultiHeadSelfAttention"
    halves = {
        name: LLAMA.find(layer, f"{name}/kernel")[0].sources
        for name in ("query", "key", "value", "attention_output")
    }
    for name, sources in halves.items():
        turned = name in ("query", "key")
        assert sources[TORCH.name].halves == turned
        assert not sources[META.name].halves


@pytest.mark.data
def test_a_real_model_tells_its_story():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    folder = folder / "stories260K"
    with open_checkpoint(folder) as checkpoint:
        sizes = checkpoint.sizes
        output = {"output.weight"}  # is tied
        assert {*checkpoint} == LLAMA.names(META, sizes["n_layers"]) - output
    model = build_transformer_model(
        checkpoint_path=folder,
        model="llama",
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["dim"],
        num_hidden_layers=sizes["n_layers"],
        num_attention_heads=sizes["n_heads"],
        num_key_value_heads=sizes["n_kv_heads"],
        intermediate_size=sizes["hidden_dim"],
    )
    ids = [1]
    for _ in STORY:
        padded = np.zeros((1, 1 + len(STORY)), "int32")
        padded[0, : len(ids)] = ids
        scores = to_numpy(model(padded))[0, len(ids) - 1]
        ids.append(int(scores.argmax()))
    assert ids[1:] == STORY
