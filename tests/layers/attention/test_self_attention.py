"""The call form of the sparse layers, whatever they look at."""

import numpy as np

from su_models.layers.attention.self_attention import _SelfAttention
from tests.contract import normal, to_numpy


class Recorded(_SelfAttention):
    """Looks at nothing else, and notes what it was given."""

    def _attend(self, q, k, v, **masks):
        self.shapes = [tuple(x.shape) for x in (q, k, v)]
        self.masks = masks
        return v


def test_queries_keys_and_values_are_projected_before_anything_else():
    layer = Recorded(3, 4, key_dim=6)
    assert tuple(layer(normal(2, 7, 5)).shape) == (2, 7, 5)
    assert layer.shapes == [(2, 7, 3, 6), (2, 7, 3, 6), (2, 7, 3, 4)]


def test_a_key_mask_stays_one():
    layer, x = Recorded(3, 4), normal(2, 7, 5)
    keys = np.arange(7) < np.array([[7], [3]])
    layer(x, mask=keys, use_causal_mask=True)
    np.testing.assert_array_equal(to_numpy(layer.masks["key_mask"]), keys)
    assert layer.masks["pair_mask"] is None and layer.masks["causal"]
    layer(x, x, value_mask=keys, attention_mask=keys[:, None] & keys[..., None])
    np.testing.assert_array_equal(to_numpy(layer.masks["key_mask"]), keys)
    assert tuple(layer.masks["pair_mask"].shape) == (2, 7, 7)


def test_values_of_other_tokens_are_projected_by_their_own_kernels():
    layer, x, y = Recorded(3, 4), normal(2, 7, 5), normal(2, 7, 2)
    got = to_numpy(layer(x, y))
    assert [w.shape[0] for w in layer.weights[:6:2]] == [5, 2, 2]
    want = to_numpy(layer.output_dense(layer.value_dense(y)))
    np.testing.assert_allclose(got, want, atol=1e-6)
