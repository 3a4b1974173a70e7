import re

import numpy as np

from su_models.checkpoints.families.gpt import GPT

GOOGLE, TORCH = GPT.columns


def test_names():
    google, torch = GPT.names(GOOGLE, 2), GPT.names(TORCH, 2)
    for name in (
        "gpt/embeddings/word_embeddings",
        "gpt/embeddings/position_embeddings",
        "gpt/transformer/layer_1/attention/self/query/kernel",
        "gpt/transformer/layer_1/output/LayerNorm/beta",
    ):
        assert name in google
    for name in (
        "transformer.tokens_embed.weight",
        "transformer.positions_embed.weight",
        "transformer.h.1.attn.c_attn.weight",
        "transformer.h.1.attn.c_proj.bias",
        "transformer.h.1.ln_1.weight",
        "transformer.h.1.mlp.c_fc.weight",
        "transformer.h.1.ln_2.bias",
    ):
        assert name in torch


def test_queries_keys_and_values_are_parts_of_one_tensor():
    stored = np.arange(24).reshape(2, 12)
    for k, path in enumerate(("query", "key", "value")):
        row, block = GPT.find(
            "Transformer-0-MultiHeadSelfAttention", f"{path}/kernel"
        )
        source = row.sources[TORCH.name].numbered(block)
        assert source.name == "transformer.h.0.attn.c_attn.weight"
        read = source.read(stored, (2, 2, 2), row.path)
        part = stored[:, 4 * k : 4 * k + 4].reshape(2, 2, 2)
        np.testing.assert_array_equal(read, part)


def test_masks_and_tied_outputs_are_no_weights():
    for name in ("transformer.h.0.attn.bias", "lm_head.weight"):
        assert re.fullmatch(TORCH.ignored, name)
    assert not re.fullmatch(TORCH.ignored, "transformer.h.0.attn.c_attn.bias")
