"""Key masks and pair masks: which shapes, and what they come to.

The prefix mask is that of https://kexue.fm/archives/6933
"""

import numpy as np
import pytest

from su_models.ops.attention_mask import (
    causal_mask,
    join_attention_mask,
    prefix_mask,
    split_attention_mask,
)
from tests.contract import integers, to_numpy

Q, K = (2, 4, 8), (2, 5, 8)


def boolean(*shape):
    return integers(2, *shape).astype(bool)


def joined(mask, **key_masks):
    return join_attention_mask(*split_attention_mask(Q, K, mask, key_masks))


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


def test_causal_mask_sees_what_came_before():
    mask = to_numpy(causal_mask(3, 4))[0]
    np.testing.assert_array_equal(mask, np.tri(3, 4))
    later = to_numpy(causal_mask(2, 4, offset=np.array([0, 2])))
    np.testing.assert_array_equal(later, [np.tri(2, 4), np.tri(2, 4, 2)])


def test_prefix_mask_is_full_within_the_prefix_and_causal_after_it():
    mask = to_numpy(prefix_mask(np.array([[0, 0, 1, 1], [0, 0, 0, 0]])))
    unilm = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    np.testing.assert_array_equal(mask, [unilm, np.ones((4, 4))])


@pytest.mark.parametrize("ids", [np.zeros(4, int), np.zeros((2, 4))])
def test_segments_that_are_no_integers_of_a_batch_are_refused(ids):
    with pytest.raises(ValueError, match="Received: segment_ids of"):
        prefix_mask(ids)
