"""Selection of rows within each sample."""

import numpy as np
from keras import ops

from su_models.generation.gather_rows import at_rank, gather_rows


def test_rows_are_those_of_the_sample():
    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    rows = np.array([[2, 0], [1, 1]], "int32")
    got = gather_rows(ops.convert_to_tensor(x), ops.convert_to_tensor(rows))
    expected = [[x[i, j] for j in rows[i]] for i in range(2)]
    np.testing.assert_array_equal(ops.convert_to_numpy(got), expected)


def test_an_entry_of_the_last_axis():
    x, column = np.arange(6).reshape(2, 3), np.array([2, 0], "int32")
    got = at_rank(ops.convert_to_tensor(x), ops.convert_to_tensor(column))
    assert ops.convert_to_numpy(got).tolist() == [2, 3]
