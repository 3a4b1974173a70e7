"""j - i, for queries at their own positions."""

import numpy as np
import pytest

from su_models.layers.position.relative_positions import relative_positions
from tests.contract import normal, to_numpy


def test_distances_are_keys_minus_queries():
    got = to_numpy(relative_positions(normal(2, 2, 3), normal(2, 4, 3)))
    np.testing.assert_array_equal(got, [[[0, 1, 2, 3], [-1, 0, 1, 2]]])


def test_queries_stand_where_they_are_said_to():
    at = np.array([[5], [1]])
    got = to_numpy(relative_positions(normal(2, 1), normal(2, 3), at))
    np.testing.assert_array_equal(got, [[[-5, -4, -3]], [[-1, 0, 1]]])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Received: query of shape"):
        relative_positions(normal(3))
    with pytest.raises(ValueError, match="Received: value of shape"):
        relative_positions(normal(3, 2), normal(3))
    with pytest.raises(ValueError, match="Received: positions of"):
        relative_positions(normal(3, 2), positions=np.arange(3))
