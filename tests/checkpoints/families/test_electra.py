import re

from su_models.checkpoints.families.electra import ELECTRA


def test_names():
    google, torch = (ELECTRA.names(c, 2) for c in ELECTRA.columns)
    for name in (
        "electra/embeddings/word_embeddings",
        "electra/embeddings_project/kernel",
        "electra/encoder/layer_1/output/LayerNorm/gamma",
        "discriminator_predictions/dense/bias",
        "discriminator_predictions/dense_1/kernel",
    ):
        assert name in google
    for name in (
        "electra.embeddings.word_embeddings.weight",
        "electra.embeddings_project.bias",
        "electra.encoder.layer.1.output.LayerNorm.weight",
        "discriminator_predictions.dense.weight",
        "discriminator_predictions.dense_prediction.weight",
    ):
        assert name in torch
    assert not any("cls" in name or "pooler" in name for name in google | torch)


def test_names_of_the_model_alone_and_of_the_generator():
    column = ELECTRA.columns[1]
    name = "embeddings_project.weight"
    assert column.canonical(name) == f"electra.{name}"
    assert re.fullmatch(column.ignored, "generator_lm_head.bias")
