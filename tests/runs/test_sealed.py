import ml_dtypes
import numpy as np
import pytest

from su_models.runs.sealed import seal, unseal

FACTS = {"epoch": 3, "settings": {"seed": 0, "data": "数"}}
ARRAYS = [
    np.arange(6, dtype="float32").reshape(2, 3),
    np.array(7, "int64"),
    np.zeros((0, 4), "float16"),
    np.array([1.5, -2], ml_dtypes.bfloat16),
    np.array([True, False]),
    np.array([1, 2**32 - 1], "uint32"),
]


def test_all_comes_back_as_it_was():
    facts, arrays = unseal(seal(FACTS, ARRAYS))
    assert facts == FACTS
    for given, found in zip(ARRAYS, arrays, strict=True):
        assert found.dtype == given.dtype and found.shape == given.shape
        np.testing.assert_array_equal(found, given)


def test_every_flipped_byte_is_noticed():
    whole = seal(FACTS, ARRAYS)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match="begin|what was written"):
            unseal(bytes(damaged))


def test_every_length_but_the_right_one_is_noticed():
    whole = seal(FACTS, ARRAYS)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="begin|what was written"):
            unseal(whole[:length])
    with pytest.raises(ValueError, match="what was written"):
        unseal(whole + b"\0")
