from su_models.checkpoints.families.gpt2_ml import GPT2_ML


def test_names_have_blocks_of_two_digits():
    names = GPT2_ML.names(GPT2_ML.columns[0], 12)
    for name in (
        "newslm/embeddings/word_embed",
        "newslm/embeddings/pos_embed",
        "newslm/embeddings/LayerNorm_embed_norm/beta",
        "newslm/layer00/query_layer/kernel",
        "newslm/layer11/context_projection_layer/bias",
        "newslm/layer11/LayerNorm_mlp_ln0/gamma",
        "newslm/layer11/LayerNorm_mlp_ln1/gamma",
        "newslm/layer11/intermediate/kernel",
        "newslm/layer11/output/bias",
    ):
        assert name in names
