"""Article: https://kexue.fm/archives/6933"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    causal,
    embedded,
    norm,
    post_norm_block,
    softmax,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def test_embeddings_are_not_normalized_and_the_mask_is_causal():
    model = tiny("gpt")
    w = weights_of(model)
    attend = functools.partial(attention, may_attend=causal)
    h = embedded(w, ids(), positions=True)
    for i in range(2):
        h = post_norm_block(h, w, f"Transformer-{i}", attend, norm)
    expected = softmax(h @ w["Embedding-Token"][0].T)
    np.testing.assert_allclose(run(model, ids()), expected, atol=2e-5)
