"""Article: https://kexue.fm/archives/6933"""

import numpy as np
import pytest

from su_models.layers import PrefixMask
from tests.contract import to_numpy


def test_a_prefix_is_seen_whole_and_the_rest_from_left_to_right():
    ids = np.array([[0, 0, 1, 1], [0, 1, 1, 0]])
    mask = to_numpy(PrefixMask()(ids))
    for b, row in enumerate(ids):
        c = np.cumsum(row)
        for i in range(4):
            for j in range(4):
                assert mask[b, i, j] == (c[j] <= c[i])


@pytest.mark.parametrize("ids", [np.zeros((2, 3)), np.zeros(3, int)])
def test_other_segments_are_rejected(ids):
    with pytest.raises(ValueError, match="Received: segment_ids"):
        PrefixMask()(ids)
