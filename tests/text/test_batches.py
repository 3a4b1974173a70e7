import numpy as np
import pytest

from su_models.text.batches import cut_rows, join_rows


def flat(rows):
    counts = np.array([len(row) for row in rows], "int64")
    return np.array(sum(rows, []), "int32"), counts


def rows(ids, counts):
    return [r.tolist() for r in np.split(ids, np.cumsum(counts)[:-1])]


@pytest.mark.parametrize("index", [-3, -2, -1, 0, 1, 2])
def test_rows_are_cut_as_popping_cuts(index):
    given = [[1, 2, 3, 4, 5], [6, 7, 8], [], [9, 10, 11, 12]]
    kept = np.array([3, 3, 0, 2])
    expected = [list(row) for row in given]
    for row, n in zip(expected, kept, strict=True):
        while len(row) > n:
            row.pop(index)
    ids, counts = cut_rows(*flat(given), kept, index)
    assert rows(ids, counts) == expected


def test_parts_stand_side_by_side():
    first, second = [[1, 2], [], [3]], [[4], [5, 6, 7], []]
    ids, numbers = join_rows([flat(first), flat(second)])
    assert ids.tolist() == [[1, 2, 4], [5, 6, 7], [3, 0, 0]]
    assert numbers.tolist() == [[0, 0, 1], [1, 1, 1], [0, 0, 0]]
    assert ids.dtype == numbers.dtype == "int32"


def test_columns_may_be_more_but_not_fewer():
    ids, numbers = join_rows([flat([[1], [2, 3]])], 4)
    assert ids.tolist() == [[1, 0, 0, 0], [2, 3, 0, 0]]
    assert numbers.shape == (2, 4)
    with pytest.raises(ValueError, match="Received: length=1, a row of 2"):
        join_rows([flat([[1], [2, 3]])], 1)


def test_no_rows():
    for length in (None, 5):
        ids, numbers = join_rows([flat([])], length)
        assert ids.shape == numbers.shape == (0, length or 0)
