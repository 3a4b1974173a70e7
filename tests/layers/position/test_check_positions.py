"""Which positions pass, and the words for those that do not."""

import numpy as np
import pytest

from su_models.layers.position.check_positions import check_positions
from tests.contract import to_numpy


@pytest.mark.parametrize("shape", [(7,), (2, 7)])
def test_integers_of_the_length_pass(shape):
    positions = np.full(shape, 3, "int64")
    for length in (7, None):
        passed = check_positions(positions, length, 2)
        np.testing.assert_array_equal(to_numpy(passed), positions)


@pytest.mark.parametrize(
    "shape", [(), (6,), (2, 1), (7, 2), (1, 7), (3, 7), (1, 2, 7)]
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="Received: key_positions of shape"):
        check_positions(np.zeros(shape, "int32"), 7, 2, "key_positions")


def test_floats_are_refused():
    with pytest.raises(ValueError, match="Received: positions of .*float32"):
        check_positions(np.zeros(7, "float32"), 7, 2)
