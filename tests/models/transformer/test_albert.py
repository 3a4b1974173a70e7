"""Paper: https://arxiv.org/abs/1909.11942"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    dense,
    embedded,
    everything,
    norm,
    post_norm_block,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def test_one_block_applied_twice():
    model = tiny("albert", embedding_size=8)
    w = weights_of(model)
    attend = functools.partial(attention, may_attend=everything)
    h = norm(embedded(w, ids(), positions=True), w["Embedding-Norm"])
    h = dense(h, w["Embedding-Mapping"])
    inner = functools.partial(norm, epsilon=1e-7)
    for _ in range(2):
        h = post_norm_block(h, w, "Transformer", attend, inner)
    np.testing.assert_allclose(run(model, ids()), h, atol=2e-5)


def test_epsilons_are_those_of_bert4keras_unless_given():
    model = tiny("albert", with_mlm=True)
    names = "MLM-Norm", "Embedding-Norm", "Transformer-FeedForward-Norm"
    epsilons = [model.get_layer(name).epsilon for name in names]
    assert epsilons == [1e-12, 1e-12, 1e-7]
    model = tiny("albert", with_mlm=True, layer_norm_epsilon=1e-5)
    assert {model.get_layer(name).epsilon for name in names} == {1e-5}
