import os
import pathlib
import re

import pytest

from su_models.checkpoints import open_checkpoint
from su_models.checkpoints.families.bert import BERT
from su_models.checkpoints.families.columns import GOOGLE
from su_models.checkpoints.plan import find_places
from tests.models.transformer.tiny import tiny

TORCH = BERT.columns[1]


def test_names_stand_side_by_side():
    google, torch = BERT.names(GOOGLE, 2), BERT.names(TORCH, 2)
    assert len(google) == len(torch)
    for name in (
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.LayerNorm.bias",
        "bert.encoder.layer.1.attention.self.query.weight",
        "bert.encoder.layer.1.attention.output.dense.bias",
        "bert.encoder.layer.1.attention.output.LayerNorm.weight",
        "bert.encoder.layer.0.intermediate.dense.weight",
        "bert.encoder.layer.0.output.dense.weight",
        "bert.encoder.layer.0.output.LayerNorm.weight",
        "bert.pooler.dense.weight",
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.bias",
        "cls.seq_relationship.weight",
    ):
        assert name in torch


@pytest.mark.parametrize("name", ["embeddings", "encoder", "pooler"])
def test_a_model_without_a_head_has_shorter_names(name):
    assert TORCH.canonical(f"{name}.x.gamma") == f"bert.{name}.x.gamma"
    assert TORCH.canonical(f"bert.{name}.x") == f"bert.{name}.x"
    assert TORCH.canonical("cls.predictions.bias") == "cls.predictions.bias"
    name = "cls.predictions.decoder.weight"  # tied
    assert re.fullmatch(TORCH.ignored, name)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "blocks"), [("bert_wwm_index_only", 12), ("keras_bert_toy", 2)]
)
def test_nothing_is_missing_and_nothing_left_of_a_real_checkpoint(name, blocks):
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    with open_checkpoint(folder / name) as checkpoint:
        names = {
            name
            for name in checkpoint
            if not re.fullmatch(GOOGLE.ignored, name)
        }
    heads = {"with_pool": True, "with_nsp": True, "with_mlm": True}
    model = tiny("bert", num_hidden_layers=blocks, **heads)
    places, others = find_places(model, BERT, GOOGLE)
    assert others == []
    assert names == {place.source.name for place in places}
