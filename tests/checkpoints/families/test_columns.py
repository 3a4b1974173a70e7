import re

import pytest

from su_models.checkpoints.families.columns import GOOGLE, HUGGING_FACE


@pytest.mark.parametrize(
    ("column", "name", "ignored"),
    [
        (GOOGLE, "bert/pooler/dense/kernel/adam_m", True),
        (GOOGLE, "bert/pooler/dense/kernel/adam_v", True),
        (GOOGLE, "bert/pooler/dense/kernel/lamb_v", True),
        (GOOGLE, "bert/pooler/dense/kernel/Adam", True),
        (GOOGLE, "bert/pooler/dense/kernel/Adam_1", True),
        (GOOGLE, "encoder/block_000/kernel_slot_vr", True),
        (GOOGLE, "global_step", True),
        (GOOGLE, "beta1_power", True),
        (GOOGLE, "bert/pooler/dense/kernel", False),
        (GOOGLE, "bert/embeddings/LayerNorm/beta", False),
        (HUGGING_FACE, "bert.embeddings.position_ids", True),
        (HUGGING_FACE, "bert.embeddings.position_embeddings.weight", False),
    ],
)
def test_what_holds_no_weights(column, name, ignored):
    assert bool(re.fullmatch(column.ignored, name)) == ignored


def test_old_names_of_normalizations():
    name = "bert.embeddings.LayerNorm."
    assert HUGGING_FACE.canonical(name + "gamma") == name + "weight"
    assert HUGGING_FACE.canonical(name + "beta") == name + "bias"
    assert HUGGING_FACE.canonical(name + "bias") == name + "bias"
