"""Counts, known and traced alike."""

import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled
from su_models.backend.histogram import histogram
from tests.contract import to_numpy


@pytest.mark.parametrize("wrap", [lambda fn: fn, compiled])
def test_counts_are_numpys(wrap):
    bins = np.array([3, 0, 3, 3, 5, 0], "int32")
    counts = wrap(lambda x: histogram(x, 7))(ops.convert_to_tensor(bins))
    np.testing.assert_array_equal(
        to_numpy(counts), np.bincount(bins, minlength=7)
    )
