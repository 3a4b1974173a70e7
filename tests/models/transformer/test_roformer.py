"""Article: https://kexue.fm/archives/8265"""

import functools

import numpy as np

from tests.contract import to_numpy
from tests.models.transformer.reference import (
    attention,
    embedded,
    everything,
    norm,
    post_norm_block,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def test_queries_and_keys_are_rotated():
    model = tiny("roformer")
    w = weights_of(model)
    normalize = functools.partial(norm, epsilon=1e-7)
    attend = functools.partial(attention, may_attend=everything, rotary=True)
    h = normalize(embedded(w, ids()), w["Embedding-Norm"])
    for i in range(2):
        h = post_norm_block(h, w, f"Transformer-{i}", attend, normalize)
    np.testing.assert_allclose(run(model, ids()), h, atol=2e-5)


def test_only_distances_count():
    model = tiny("roformer", custom_position_ids=True)
    x = ids()
    place = np.arange(7)[None].repeat(2, axis=0)
    a, b = (to_numpy(model([x, x * 0, p])) for p in (place, place + 1000))
    np.testing.assert_allclose(a, b, atol=2e-4)
