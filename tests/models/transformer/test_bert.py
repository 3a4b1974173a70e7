"""Article: https://kexue.fm/archives/6736"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    dense,
    embedded,
    everything,
    gelu,
    norm,
    post_norm_block,
    softmax,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def encode(w, x):
    attend = functools.partial(attention, may_attend=everything)
    h = norm(embedded(w, x, positions=True), w["Embedding-Norm"])
    for i in range(2):
        h = post_norm_block(h, w, f"Transformer-{i}", attend, norm)
    return h


def test_hidden_states_are_those_of_the_formulas():
    model = tiny("bert")
    h = encode(weights_of(model), ids())
    np.testing.assert_allclose(run(model, ids()), h, atol=2e-5)


def test_masked_language_model():
    model = tiny("bert", with_mlm=True)
    w = weights_of(model)
    h = norm(gelu(dense(encode(w, ids()), w["MLM-Dense"])), w["MLM-Norm"])
    logits = h @ w["Embedding-Token"][0].T + w["MLM-Bias"][0]
    np.testing.assert_allclose(run(model, ids()), softmax(logits), atol=2e-5)


def test_pooling_and_next_sentence_prediction():
    pooled, both = tiny("bert", with_pool=True), tiny("bert", with_nsp=True)
    w = weights_of(both)
    p = np.tanh(dense(encode(w, ids())[:, 0], w["Pooler-Dense"]))
    expected = softmax(dense(p, w["NSP-Proba"]))
    np.testing.assert_allclose(run(both, ids()), expected, atol=2e-5)
    w = weights_of(pooled)
    p = np.tanh(dense(encode(w, ids())[:, 0], w["Pooler-Dense"]))
    np.testing.assert_allclose(run(pooled, ids()), p, atol=2e-5)
