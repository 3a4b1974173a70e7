"""Rows that are kept, and rows that are made of others."""

import numpy as np
import pytest

from su_models.models.transformer.vocabulary import (
    reduced_rows,
    reduced_size,
    row_chooser,
)

TABLE = np.arange(12.0).reshape(6, 2)


def test_kept_rows_come_in_the_order_given():
    rows = reduced_rows(TABLE, [4, 0], None)
    np.testing.assert_array_equal(rows, [[8, 9], [0, 1]])
    assert reduced_size(6, [4, 0], None) == 2


def test_compound_rows_are_means_of_what_is_kept():
    compound = [[0, 1], ([0, 1], [1, 3])]
    rows = reduced_rows(TABLE, [4, 0], compound)
    np.testing.assert_array_equal(rows[2:], [[4, 5], [2, 3]])
    assert reduced_size(6, [4, 0], compound) == 4


def test_nothing_is_changed_without_a_choice():
    np.testing.assert_array_equal(reduced_rows(TABLE, None, None), TABLE)


def test_a_chooser_of_rows_knows_the_size_of_the_table():
    assert row_chooser(6, None, None) is None
    rows = row_chooser(6, [4, 0], [[0, 1]])
    expected = reduced_rows(TABLE, [4, 0], [[0, 1]])
    np.testing.assert_array_equal(rows(TABLE), expected)
    with pytest.raises(ValueError, match="Received: vocab_size=6, 5 tokens"):
        rows(TABLE[:5])


@pytest.mark.parametrize(
    ("keep", "compound"),
    [([6], None), ([-1], None), ([0.5], None), ([], None), ([1], [[1]])],
)
def test_ids_that_are_none_are_rejected(keep, compound):
    with pytest.raises(ValueError, match="must be ids from 0 to"):
        reduced_size(6, keep, compound)
