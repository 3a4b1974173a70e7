"""How many codes of a codebook are in use."""

import math

import numpy as np
import pytest
from keras import ops

from su_models.ops import codebook_perplexity


def test_equal_use_of_m_codes_is_m():
    for m in (1, 3, 7):
        indices = np.tile(np.arange(m), (5, 2)).astype("int32")
        assert codebook_perplexity(indices, 9) == pytest.approx(m)


def test_matches_the_definition():
    indices = ops.convert_to_tensor([4, 0, 4, 4, 1, 0], "int32")
    entropy = 0.0
    for count in (3, 2, 1):
        entropy -= count / 6 * math.log(count / 6)
    assert codebook_perplexity(indices, 5) == pytest.approx(math.exp(entropy))


def test_no_indices_have_none():
    assert math.isnan(codebook_perplexity(np.zeros((0, 3), "int32"), 4))


@pytest.mark.parametrize("size", [0, -2, 2.5, "4", None])
def test_a_codebook_without_codes_is_refused(size):
    with pytest.raises(ValueError, match="Received: codebook_size="):
        codebook_perplexity([0], size)


@pytest.mark.parametrize("indices", [[4], [-1, 0], [0.5, 1.0]])
def test_what_is_no_index_is_refused(indices):
    with pytest.raises(ValueError, match=r"from 0 to 3. Received: indices="):
        codebook_perplexity(indices, 4)
