import os
import pathlib

import numpy as np
import pytest

from su_models.checkpoints import load_checkpoint, open_checkpoint
from su_models.checkpoints.families.albert import ALBERT, ALBERT_UNSHARED
from su_models.checkpoints.families.bert import BERT
from su_models.checkpoints.tf1 import write_tf1
from su_models.models import build_transformer_model
from tests.models.transformer.tiny import tiny

GOOGLE, OLD, TORCH = ALBERT.columns
GROUP = "bert/encoder/transformer/group_0/inner_group_0"
LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0"


def test_names():
    google, torch = ALBERT.names(GOOGLE, 3), ALBERT.names(TORCH, 3)
    for name in (
        f"{GROUP}/attention_1/self/query/kernel",
        f"{GROUP}/attention_1/output/dense/bias",
        f"{GROUP}/LayerNorm/beta",
        f"{GROUP}/ffn_1/intermediate/dense/kernel",
        f"{GROUP}/ffn_1/intermediate/output/dense/kernel",
        f"{GROUP}/LayerNorm_1/gamma",
        "bert/encoder/embedding_hidden_mapping_in/kernel",
        "bert/pooler/dense/kernel",
    ):
        assert name in google
    for name in (
        f"{LAYER}.attention.query.weight",
        f"{LAYER}.attention.dense.bias",
        f"{LAYER}.attention.LayerNorm.weight",
        f"{LAYER}.ffn.weight",
        f"{LAYER}.ffn_output.weight",
        f"{LAYER}.full_layer_layer_norm.bias",
        "albert.encoder.embedding_hidden_mapping_in.weight",
        "albert.pooler.weight",
        "predictions.bias",
        "sop_classifier.classifier.weight",
    ):
        assert name in torch


def test_unshared_blocks_are_written_as_those_of_bert():
    columns = ALBERT_UNSHARED.columns
    for column, berts in zip(columns[:2], BERT.columns, strict=True):
        assert ALBERT_UNSHARED.names(column, 2) == BERT.names(berts, 2)
    assert ALBERT_UNSHARED.names(columns[2], 2) == ALBERT.names(GOOGLE, 1)


@pytest.mark.data
def test_nothing_is_missing_and_nothing_left_of_a_real_checkpoint():
    """An old one of brightmart's: two factors of the table of tokens."""
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    with open_checkpoint(folder / "albert_tiny_zh_index_only") as checkpoint:
        names = {*checkpoint}
    expected = ALBERT.names(OLD, 1)
    gated = {name for name in expected if "dense_1" in name}
    assert names == expected - gated


@pytest.mark.data
def test_shapes_of_a_real_checkpoint_are_those_of_the_model():
    """All are right: then its data are looked for, which are not there."""
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    folder = folder / "albert_tiny_zh_index_only"
    with pytest.raises(ValueError, match="cannot be read: .* have its data"):
        build_transformer_model(
            folder / "albert_config_tiny.json",
            folder,
            model="albert",
            embedding_size=312,  # of the two factors' product
            with_pool=True,
            with_nsp=True,
            with_mlm=True,
        )


def test_two_factors_become_one_table(tmp_path):
    options = {"with_pool": True, "with_nsp": True, "with_mlm": True}
    model = tiny("albert", **options)
    random = np.random.default_rng(0)
    factors = random.normal(size=(31, 5)), random.normal(size=(5, 12))
    arrays = {}
    for row in ALBERT.rows:
        source = row.sources.get("brightmart")
        if source is None or "hidden_1" in row.path:
            continue
        layer, path = model.get_layer(row.layer), row.path
        place = f"{row.layer}/{path}"
        shape = next(w.shape for w in layer.weights if place in w.path)
        value = random.normal(size=source.shape(shape, path))
        arrays[source.name] = value.astype("float32")
    words = "bert/embeddings/word_embeddings"
    for name, factor in zip((words, f"{words}_2"), factors, strict=True):
        arrays[name] = factor.astype("float32")
    write_tf1(tmp_path / "a", {n: lambda a=a: a for n, a in arrays.items()})
    assert load_checkpoint(model, tmp_path / "a") == []
    (table,) = model.get_layer("Embedding-Token").get_weights()
    np.testing.assert_allclose(table, factors[0] @ factors[1], atol=1e-5)
