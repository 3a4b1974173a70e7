import dataclasses

from su_models.checkpoints.families.columns import GOOGLE, HUGGING_FACE
from su_models.checkpoints.families.layers import (
    LAYERS,
    VOCABULARY,
    rows_of,
)

COLUMNS = {
    GOOGLE: {"tokens": "t", "query": "b{i}/q", "mlm_bias": "m", "lm": "l"},
    HUGGING_FACE: {"attention_norm": "b.{i}.n", "lm": "l"},
}


def rows(**options):
    return {(r.layer, r.path): r for r in rows_of(COLUMNS, **options)}


def test_rows_have_the_names_of_all_columns():
    made = rows()
    attention = "Transformer-{i}-MultiHeadSelfAttention"
    kernel = made[attention, "query/kernel"].sources
    assert kernel["google"].name == "b{i}/q/kernel"
    assert "hugging_face" not in kernel
    gamma = made[f"{attention}-Norm", "gamma"].sources
    assert gamma["hugging_face"].name == "b.{i}.n.weight"
    assert {*made["LM-Dense", "kernel"].sources} == {"google", "hugging_face"}


def test_the_axis_of_the_vocabulary():
    made = rows()
    axes = {key: r.vocabulary for key, r in made.items()}
    assert axes["Embedding-Token", "embeddings"] == 0
    assert axes["MLM-Bias", "beta"] == 0
    assert axes["LM-Dense", "kernel"] == 1
    assert {*VOCABULARY} <= {*LAYERS}


def test_biases_and_offsets_may_be_left_out():
    paths = {path.rpartition("/")[2] for _, path in rows()}
    assert {"bias", "beta", "gamma", "kernel"} <= paths
    made = rows(bias=False, offset=False)
    assert {path for _, path in made} == {
        "embeddings",
        "query/kernel",
        "beta",
        "gamma",
        "kernel",
    }
    assert ("MLM-Bias", "beta") in made  # is no normalization


def test_blocks_may_be_one():
    layers = {layer for layer, _ in rows(block="Transformer")}
    assert "Transformer-MultiHeadSelfAttention" in layers
    assert not any("{i}" in layer for layer in layers)


def test_places_are_of_one_weight_each():
    assert len({*LAYERS.values()}) == len(LAYERS)
    kinds = {kind for *_, kind in LAYERS.values()}
    assert kinds == {"dense", "norm", "embeddings", "tensor"}
    assert dataclasses.is_dataclass(next(iter(rows().values())))
