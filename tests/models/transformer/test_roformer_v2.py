"""Article: https://kexue.fm/archives/8998"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    embedded,
    everything,
    norm,
    post_norm_block,
    softmax,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def encode(w, x):
    normalize = functools.partial(norm, epsilon=1e-7, zero_mean=False)
    attend = functools.partial(attention, may_attend=everything, rotary=True)
    h = normalize(embedded(w, x))
    for i in range(2):
        name = f"Transformer-{i}"
        w |= {
            f"{name}-{part}-Norm": ()
            for part in ("MultiHeadSelfAttention", "FeedForward")
        }
        h = post_norm_block(h, w, name, attend, normalize)
    return h


def test_no_biases_and_a_norm_without_weights():
    model = tiny("roformer_v2")
    h = encode(weights_of(model), ids())
    np.testing.assert_allclose(run(model, ids()), h, atol=2e-5)


def test_the_head_is_the_token_embedding_alone():
    model = tiny("roformer_v2", with_mlm=True)
    w = weights_of(model)
    expected = softmax(encode(w, ids()) @ w["Embedding-Token"][0].T)
    np.testing.assert_allclose(run(model, ids()), expected, atol=2e-5)
