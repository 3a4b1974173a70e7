"""j - i, for queries at their own positions."""

import numpy as np
import pytest

from su_models.layers.position.relative_positions import (
    relative_positions,
    relative_shape,
)
from tests.contract import normal, to_numpy


def test_distances_are_keys_minus_queries():
    got = to_numpy(relative_positions(normal(2, 2, 3), normal(2, 4, 3)))
    np.testing.assert_array_equal(got, [[[0, 1, 2, 3], [-1, 0, 1, 2]]])


def test_queries_stand_where_they_are_said_to():
    at = np.array([[5], [1]])
    got = to_numpy(relative_positions(normal(2, 1), normal(2, 3), at))
    np.testing.assert_array_equal(got, [[[-5, -4, -3]], [[-1, 0, 1]]])


def test_keys_stand_where_they_are_said_to():
    at = np.array([[0, 1, 5], [4, 4, 4]])
    for given in ({}, {"value": normal(2, 3)}):
        got = to_numpy(
            relative_positions(
                normal(2, 1), positions=np.array([3]), key_positions=at, **given
            )
        )
        np.testing.assert_array_equal(got, at[:, None] - 3)
    got = to_numpy(relative_positions(normal(2, 2), key_positions=at[0]))
    np.testing.assert_array_equal(got, [[[0, 1, 5], [-1, 0, 4]]])


SHAPES = [
    {"query_shape": (2, 7)},
    {"query_shape": (2, 7, 3), "value_shape": (2, 5, 3)},
    {"query_shape": (2, 7), "positions_shape": (7,)},
    {"query_shape": (2, 7), "positions_shape": (2, 7)},
    {"query_shape": (2, 1), "key_positions_shape": (5,)},
    {"query_shape": (2, 1), "key_positions_shape": (2, 5)},
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_the_shape_is_known_before(shapes):
    given = {
        name.removesuffix("_shape"): np.zeros(shape, "int32")
        for name, shape in shapes.items()
    }
    got = relative_positions(**given)
    assert tuple(got.shape) == relative_shape(**shapes)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Received: query of shape"):
        relative_positions(normal(3))
    with pytest.raises(ValueError, match="Received: value of shape"):
        relative_positions(normal(3, 2), normal(3))
    with pytest.raises(ValueError, match="Received: positions of"):
        relative_positions(normal(3, 2), positions=np.arange(3))
    for batch in (1, 9):
        at = np.zeros((batch, 7), "int32")
        with pytest.raises(ValueError, match=r"positions of shape \(\d, 7\)"):
            relative_positions(normal(2, 7), positions=at)
        with pytest.raises(ValueError, match="Received: key_positions of"):
            relative_positions(normal(2, 7), key_positions=at)
    with pytest.raises(ValueError, match="Received: key_positions of"):
        relative_positions(
            normal(2, 1), normal(2, 4), key_positions=np.arange(5)
        )
