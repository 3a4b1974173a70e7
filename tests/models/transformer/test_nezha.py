"""Article: https://kexue.fm/archives/8130"""

import functools

import numpy as np

from tests.models.transformer.reference import (
    attention,
    embedded,
    everything,
    norm,
    post_norm_block,
    weights_of,
)
from tests.models.transformer.tiny import ids, run, tiny


def test_distances_are_added_to_keys_and_values():
    model = tiny("nezha")
    w = weights_of(model)
    table = w["Embedding-Relative-Position"][0]

    def relative(i, j):
        return table[min(max(j - i, -64), 64) + 64]

    normalize = functools.partial(norm, epsilon=1e-7)
    attend = functools.partial(
        attention, may_attend=everything, relative=relative
    )
    h = normalize(embedded(w, ids()), w["Embedding-Norm"])
    for i in range(2):
        h = post_norm_block(h, w, f"Transformer-{i}", attend, normalize)
    np.testing.assert_allclose(run(model, ids()), h, atol=2e-5)


def test_the_table_is_not_trained():
    model = tiny("nezha")
    assert not model.get_layer("Embedding-Relative-Position").trainable_weights
