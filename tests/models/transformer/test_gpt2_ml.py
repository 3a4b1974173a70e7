"""Paper: https://github.com/imcaspar/gpt2-ml"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    causal,
    embedded,
    feed_forward,
    norm,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def test_the_feed_forward_part_is_normalized_before_and_after():
    model = tiny("gpt2_ml", final_activation="linear")
    w = weights_of(model)
    normalize = functools.partial(norm, epsilon=1e-5)
    attend = functools.partial(attention, may_attend=causal)
    x = embedded(w, ids(), segments=False, positions=True)
    x = normalize(x, w["Embedding-Norm"])
    for i in range(2):
        x = x + attend(x, w[f"Transformer-{i}-MultiHeadSelfAttention"])
        name = f"Transformer-{i}-FeedForward"
        y = feed_forward(normalize(x, w[f"{name}-Norm-0"]), w[name])
        x = normalize(x + y, w[f"{name}-Norm-1"])
    expected = x @ w["Embedding-Token"][0].T
    np.testing.assert_allclose(run(model, ids()), expected, atol=5e-5)
