import re

from su_models.checkpoints.families.roformer import ROFORMER, ROFORMER_V2


def test_names():
    google, torch = (ROFORMER.names(c, 2) for c in ROFORMER.columns)
    assert "bert/encoder/layer_1/attention/self/query/kernel" in google
    assert not any("position" in name for name in google)
    for name in (
        "roformer.embeddings.word_embeddings.weight",
        "roformer.embeddings_project.weight",
        "roformer.encoder.layer.1.intermediate.dense.bias",
        "cls.predictions.bias",
    ):
        assert name in torch
    assert ROFORMER.rows == ROFORMER_V2.rows


def test_its_table_of_sines_is_no_weight():
    name = "roformer.encoder.embed_positions.weight"
    column = ROFORMER.columns[1]
    assert re.fullmatch(column.ignored, name)
    short = name.removeprefix("roformer.")
    assert column.canonical(short) == name
