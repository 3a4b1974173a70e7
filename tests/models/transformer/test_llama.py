"""Article: https://kexue.fm/archives/10091"""

import functools

import numpy as np
import pytest

from tests.models.transformer.reference import (
    attention,
    causal,
    embedded,
    norm,
    pre_norm_block,
    silu,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny

HEADS = {"num_attention_heads": 6, "attention_head_size": 4}


@pytest.mark.parametrize("groups", [2, 6])
@pytest.mark.parametrize("tied", [True, False])
def test_grouped_queries_gated_networks_and_rms(groups, tied):
    model = tiny(
        "llama",
        num_key_value_heads=groups,
        hidden_act="silu",
        tie_word_embeddings=tied,
        final_activation="linear",
        **HEADS,
    )
    w = weights_of(model)
    normalize = functools.partial(norm, epsilon=1e-5, zero_mean=False)
    attend = functools.partial(attention, may_attend=causal, rotary=True)
    h = embedded(w, ids(), segments=False)
    for i in range(2):
        name = f"Transformer-{i}"
        h = pre_norm_block(h, w, name, attend, normalize, silu, gated=True)
    out = w["Embedding-Token"][0].T if tied else w["LM-Dense"][0]
    expected = normalize(h, w["Output-Norm"]) @ out
    np.testing.assert_allclose(run(model, ids()), expected, atol=5e-5)


def test_heads_that_do_not_divide_are_rejected():
    with pytest.raises(ValueError, match="num_key_value_heads=4"):
        tiny("llama", num_key_value_heads=4, **HEADS)
