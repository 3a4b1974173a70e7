"""What is written, where, and that nothing else moves."""

import numpy as np
import pytest
from keras import ops

from su_models.backend.compile import compiled
from su_models.ops.kv_cache import update_cache
from tests.contract import normal, to_numpy


def expected(cache, new, index):
    cache, n = cache.copy(), new.shape[1]
    for row, i in enumerate(np.broadcast_to(index, len(cache))):
        cache[row, i : i + n] = new[row]
    return cache


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("index", [0, 3, np.array([3, 0, 2])])
def test_new_tokens_are_written_from_the_index_on(n, index):
    cache, new = normal(3, 5, 2, 4), 1 + normal(3, n, 2, 4)
    want = expected(cache, new, index)
    np.testing.assert_array_equal(
        to_numpy(update_cache(cache, new, index)), want
    )


@pytest.mark.parametrize("index", [3, [3, 0, 2]], ids=["one", "a row each"])
def test_index_may_be_traced(index):
    cache, new = normal(3, 5, 2, 4), 1 + normal(3, 1, 2, 4)
    got = compiled(update_cache)(
        ops.convert_to_tensor(cache),
        ops.convert_to_tensor(new),
        ops.convert_to_tensor(np.array(index, "int32")),
    )
    np.testing.assert_array_equal(to_numpy(got), expected(cache, new, index))


def test_cache_keeps_its_dtype():
    cache = ops.cast(normal(3, 5, 2), "float16")
    assert update_cache(cache, normal(3, 1, 2), 4).dtype == cache.dtype


@pytest.mark.parametrize("index", [-1, 4])
def test_tokens_that_do_not_fit_are_refused(index):
    with pytest.raises(ValueError, match=f"Received: cache_index={index}"):
        update_cache(normal(3, 5, 2), normal(3, 2, 2), index)
