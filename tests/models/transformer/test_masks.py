"""A mask turns an encoder into a language model.

Article: https://kexue.fm/archives/6933
"""

import pytest

from su_models.models.transformer.bert import BERT
from su_models.models.transformer.gpt import GPT
from su_models.models.transformer.masks import (
    LMMask,
    UniLMMask,
    extend_with_language_model,
    extend_with_unified_language_model,
)
from tests.models.transformer.tiny import SIZES


@pytest.mark.parametrize(
    ("extend", "mixin", "layer"),
    [
        (extend_with_language_model, LMMask, "Attention-LM-Mask"),
        (extend_with_unified_language_model, UniLMMask, "Attention-UniLM-Mask"),
    ],
)
def test_extended_families_have_a_mask_and_a_head(extend, mixin, layer):
    cls = extend(BERT)
    assert issubclass(cls, BERT) and issubclass(cls, mixin)
    builder = cls(**SIZES)
    builder.build()
    assert builder.with_mlm is True
    assert builder.model.get_layer(layer)
    assert builder.model.output_shape[-1] == SIZES["vocab_size"]
    logits = cls(**SIZES, with_mlm="linear")
    assert logits.with_mlm == "linear"


def test_a_family_that_has_the_mask_is_extended_too():
    cls = extend_with_language_model(GPT)
    builder = cls(**SIZES)
    builder.build()
    layers = [layer.name for layer in builder.model.layers]
    assert layers.count("Attention-LM-Mask") == 1
