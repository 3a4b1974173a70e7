"""Key masks and pair masks: which shapes, and what they come to."""

import numpy as np
import pytest

from su_models.layers.attention.masks import (
    AttentionMasks,
    joined_mask,
    split_attention_mask,
)
from tests.contract import integers, to_numpy

Q, K = (2, 4, 8), (2, 5, 8)


def boolean(*shape):
    return integers(2, *shape).astype(bool)


def joined(mask, **key_masks):
    masks = AttentionMasks(*split_attention_mask(Q, K, mask, key_masks))
    return joined_mask(masks, Q[1], K[1])


def test_nothing_masked_is_none():
    assert joined(None, value_mask=None) is None


@pytest.mark.parametrize("shape", [(2, 5), (1, 5)])
def test_key_mask_alone_has_no_axis_of_queries(shape):
    mask = boolean(*shape)
    keys, pairs = split_attention_mask(Q, K, mask)
    assert pairs is None
    np.testing.assert_array_equal(to_numpy(keys), mask)
    np.testing.assert_array_equal(to_numpy(joined(mask)), mask[:, None])


@pytest.mark.parametrize("shape", [(2, 4, 5), (1, 4, 5), (2, 1, 5)])
def test_all_masks_have_to_agree(shape):
    pairs, a, b = boolean(*shape), boolean(2, 5), ~boolean(3, 5)[1:]
    np.testing.assert_array_equal(
        to_numpy(joined(pairs, key_mask=a, value_mask=b.astype("int32"))),
        pairs & a[:, None] & b[:, None],
    )


def test_causal_masks_join_the_others():
    order = np.tri(4, 5, dtype=bool)[None]
    pairs, keys = boolean(2, 4, 5), ~boolean(2, 5)
    for masks, want in (
        (AttentionMasks(causal=True), order),
        (AttentionMasks(keys, causal=True), order & keys[:, None]),
        (AttentionMasks(keys, pairs, True), order & keys[:, None] & pairs),
    ):
        np.testing.assert_array_equal(to_numpy(joined_mask(masks, 4, 5)), want)


@pytest.mark.parametrize(
    "shape", [(5,), (2, 4), (3, 5), (2, 1), (2, 5, 4), (2, 4, 1), (2, 3, 4, 5)]
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="Received: attention_mask of shape"):
        joined(boolean(*shape))


def test_pair_mask_where_a_key_mask_belongs_is_refused():
    with pytest.raises(
        ValueError, match=r"Received: key_mask of shape \(2, 4, 5\)"
    ):
        joined(None, key_mask=boolean(2, 4, 5))


def test_additive_mask_is_refused():
    with pytest.raises(ValueError, match="boolean.*attention_mask of float32"):
        joined(boolean(2, 5).astype("float32"))
