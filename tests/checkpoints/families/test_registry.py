import functools

import numpy as np
import pytest

from su_models.checkpoints import (
    load_checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from su_models.checkpoints.families.registry import FAMILIES
from su_models.checkpoints.plan import find_places
from su_models.models.transformer.build import MODELS
from tests.checkpoints.small import assert_equal, randomize
from tests.models.transformer.tiny import tiny

HEADS = {"with_pool": True, "with_nsp": True, "with_mlm": True}
WITH_HEADS = ("bert", "roberta", "albert", "albert_unshared", "nezha")
NARROW = {"embedding_size": 8}
NAMES = [*FAMILIES, "t5.1.0_encoder", "t5.1.1_decoder"]
FIXED = "Embedding-Relative-Position/embeddings"  # NEZHA's sines
GATED = {"hidden_act": ["gelu", "linear"]}


def model_of(name, **options):
    """A small model of a family, with all its heads."""
    if name in (*WITH_HEADS, "roformer"):
        options |= HEADS
    if name in ("roformer_v2", "gau_alpha"):
        options["with_mlm"] = True
    if name == "electra":
        options["with_discriminator"] = True
    if "t5.1.1" in name:
        options |= GATED
    if name == "llama":
        options = {
            "hidden_act": ["silu", "linear"],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_size": 16,
            **options,
        }
    return tiny(name, **options)


@functools.lru_cache(maxsize=2)  # one family's: to make them takes the time
def two_models_of(name, narrow):
    """Two equal models of a family, which tests give new weights."""
    options = NARROW if narrow else {}
    return model_of(name, **options), model_of(name, **options)


def names_of(path):
    with open_checkpoint(path) as checkpoint:
        return list(checkpoint)


@pytest.mark.parametrize(
    ("format", "narrow"),
    [("tf1", False), ("safetensors", False), ("safetensors", True)],
    ids=["tf1", "safetensors", "narrow"],
)
@pytest.mark.parametrize("name", NAMES)
def test_out_and_back_is_equal_to_the_bit(name, narrow, format, tmp_path):
    model, again = two_models_of(name, narrow)
    weights = randomize(model, 1)
    family = _family(name)
    options = [{}] if narrow else [{}, {"family": family}]
    for i, option in enumerate(options):
        path = tmp_path / f"{i}"
        save_checkpoint(model, path, format=format, **option)
        randomize(again, 2)
        assert load_checkpoint(again, path, **option) == []
        for i, variable in enumerate(again.weights):
            if name == "nezha" and variable.path.endswith(FIXED):
                variable.assign(weights[i])
        assert_equal(again, weights)


def test_every_model_has_a_family():
    assert {_family(name) for name in MODELS} == {*FAMILIES}


def test_a_family_writes_its_own_names(tmp_path):
    beginnings = {
        "bert": "bert",
        "roberta": "bert",
        "albert": "albert",
        "albert_unshared": "bert",
        "nezha": "nezha",
        "roformer": "roformer",
        "roformer_v2": "roformer",
        "gau_alpha": "gau_alpha",
        "electra": "electra",
        "gpt": "transformer",
        "gpt2": "transformer",
        "gpt2_ml": "newslm",
        "llama": "model",
        "t5.1.0_encoder": "encoder",
        "t5.1.1_decoder": "decoder",
    }
    for name, beginning in beginnings.items():
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(model_of(name), path)
        assert any(n.startswith(f"{beginning}.") for n in names_of(path)), name


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_a_name_in_every_format(name):
    """So none keeps what it was made with when a checkpoint is loaded."""
    family = FAMILIES[_family(name)]
    model = model_of(name, **NARROW)
    for format in ("tf1", "safetensors"):
        column = [c for c in family.columns if c.format == format][0]
        places, others = find_places(model, family, column)
        assert others == [] and all(place.source for place in places)


def _family(name):
    name = name.removesuffix("_encoder").removesuffix("_decoder")
    return "t5.1.0" if name == "t5" else name


def test_unshared_blocks_begin_as_the_one_of_albert(tmp_path):
    for path in (tmp_path / "a", tmp_path / "a.safetensors"):
        shared = model_of("albert")
        save_checkpoint(shared, path)
        model = model_of("albert_unshared")
        assert load_checkpoint(model, path, "albert_unshared") == []
        name = "MultiHeadSelfAttention"
        expected = shared.get_layer(f"Transformer-{name}").get_weights()
        for i in range(2):
            layer = model.get_layer(f"Transformer-{i}-{name}")
            for ours, theirs in zip(layer.get_weights(), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
