"""Which shapes pass, and the words for those that do not."""

import numpy as np
import pytest

from su_models.ops.check_shape import check_shape


@pytest.mark.parametrize(
    ("shape", "expected", "broadcast"),
    [
        ((2, 3), (2, 3), 0),
        ((2, 3), (None, 3), 0),
        ((1, 3), (2, 3), 1),
        ((1, 1, 3), (2, 4, 3), 2),
    ],
)
def test_right_shapes_pass(shape, expected, broadcast):
    check_shape("x", np.zeros(shape), expected, broadcast)


@pytest.mark.parametrize(
    ("shape", "expected", "broadcast"),
    [
        ((2, 3), (3, 2), 2),
        ((2, 3), (2, 3, None), 0),
        ((1, 3), (2, 3), 0),
        ((2, 1), (2, 3), 1),
    ],
)
def test_wrong_shapes_are_refused(shape, expected, broadcast):
    with pytest.raises(ValueError, match="`mask`.*Received: mask of shape"):
        check_shape("mask", np.zeros(shape), expected, broadcast)
