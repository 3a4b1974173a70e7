"""Article: https://kexue.fm/archives/7292"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    causal,
    embedded,
    norm,
    pre_norm_block,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def test_blocks_normalize_first_and_the_output_last():
    model = tiny("gpt2", final_activation="linear")
    w = weights_of(model)
    normalize = functools.partial(norm, epsilon=1e-5)
    attend = functools.partial(attention, may_attend=causal)
    h = embedded(w, ids(), segments=False, positions=True)
    for i in range(2):
        h = pre_norm_block(h, w, f"Transformer-{i}", attend, normalize)
    expected = normalize(h, w["Output-Norm"]) @ w["Embedding-Token"][0].T
    np.testing.assert_allclose(run(model, ids()), expected, atol=5e-5)
