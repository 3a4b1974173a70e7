"""Masks that let a token attend to what came before it.

The prefix mask is that of https://kexue.fm/archives/6933
"""

import numpy as np
import pytest

from su_models.ops import causal_mask, prefix_mask
from tests.contract import to_numpy


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
