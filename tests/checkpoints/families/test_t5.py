import re

from su_models.checkpoints.families.t5 import MT5_1_1, T5, T5_1_1


def test_names_of_google():
    names = T5.names(T5.columns[0], 2)
    for name in (
        "shared/embedding",
        "encoder/block_000/layer_000/SelfAttention/relative_attention_bias",
        "decoder/block_000/layer_000/SelfAttention/relative_attention_bias",
        "encoder/block_001/layer_000/SelfAttention/q",
        "encoder/block_001/layer_000/layer_norm/scale",
        "encoder/block_001/layer_001/DenseReluDense/wi/kernel",
        "encoder/block_001/layer_001/DenseReluDense/wo/kernel",
        "decoder/block_001/layer_001/EncDecAttention/o",
        "decoder/block_001/layer_001/layer_norm/scale",
        "decoder/block_001/layer_002/DenseReluDense/wi/kernel",
        "encoder/final_layer_norm/scale",
    ):
        assert name in names
    gated = T5_1_1.names(T5_1_1.columns[0], 1)
    assert "encoder/block_000/layer_001/DenseReluDense/wi_1/kernel" in gated
    assert "decoder/logits/kernel" in gated
    assert "decoder/logits/kernel" not in names
    normed = MT5_1_1.names(MT5_1_1.columns[0], 1)
    assert "encoder/block_000/layer_000/rms_norm/scale" in normed
    assert "decoder/rms_norm/scale" in normed


def test_names_of_hugging_face():
    names = T5_1_1.names(T5_1_1.columns[1], 2)
    for name in (
        "shared.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.block.1.layer.0.SelfAttention.q.weight",
        "encoder.block.1.layer.0.layer_norm.weight",
        "encoder.block.1.layer.1.DenseReluDense.wi_0.weight",
        "decoder.block.1.layer.1.EncDecAttention.o.weight",
        "decoder.block.1.layer.2.DenseReluDense.wo.weight",
        "decoder.block.1.layer.2.layer_norm.weight",
        "decoder.final_layer_norm.weight",
        "lm_head.weight",
    ):
        assert name in names
    assert names == MT5_1_1.names(MT5_1_1.columns[1], 2)


def test_copies_are_no_weights():
    for family, tied in ((T5, True), (T5_1_1, False)):
        column = family.columns[1]
        assert re.fullmatch(column.ignored, "decoder.embed_tokens.weight")
        assert bool(re.fullmatch(column.ignored, "lm_head.weight")) == tied


def test_the_bias_of_positions_is_transposed_by_google_alone():
    row, _ = T5.find("Encoder-Embedding-Relative-Position", "embeddings")
    google, torch = (row.sources[c.name] for c in T5.columns)
    assert google.shape((32, 3), row.path) == (3, 32)
    assert torch.shape((32, 3), row.path) == (32, 3)
