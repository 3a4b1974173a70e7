"""What is written, where, and that nothing else moves."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.compile import compiled
from su_models.ops.kv_cache import update_cache
from tests.contract import JIT, normal, to_numpy


def expected(cache, new, index):
    cache, n = cache.copy(), new.shape[2]
    for row, i in enumerate(np.broadcast_to(index, len(cache))):
        cache[row, :, i : i + n] = new[row]
    return cache


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("index", [0, 3, np.array([3, 0, 2])])
def test_new_tokens_are_written_from_the_index_on(n, index):
    cache, new = normal(3, 2, 5, 4), 1 + normal(3, 2, n, 4)
    want = expected(cache, new, index)
    np.testing.assert_array_equal(
        to_numpy(update_cache(cache, new, index)), want
    )


INDICES = {
    "np.int64": np.int64(3),
    "array": np.array(3),
    "uint8": np.uint8(3),
    "list": [3, 3, 3],
    "tuple": (3, 3, 3),
    "int64 a row": np.array([3, 3, 3]),
    "int16 a row": np.array([3, 3, 3], "int16"),
    "tensor": ops.convert_to_tensor([3, 3, 3], "int32"),
    "small tensor": ops.convert_to_tensor(3, "uint8"),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_the_index_may_have_any_form(index):
    cache, new = normal(3, 2, 5, 4), 1 + normal(3, 2, 1, 4)
    np.testing.assert_array_equal(
        to_numpy(update_cache(cache, new, index)), expected(cache, new, 3)
    )


@pytest.mark.parametrize("index", [3, [3, 0, 2]], ids=["one", "a row each"])
def test_index_may_be_traced(index):
    cache, new = normal(3, 2, 5, 4), 1 + normal(3, 2, 1, 4)
    got = compiled(update_cache)(
        ops.convert_to_tensor(cache),
        ops.convert_to_tensor(new),
        ops.convert_to_tensor(np.array(index, "int32")),
    )
    np.testing.assert_array_equal(to_numpy(got), expected(cache, new, index))


def test_cache_keeps_its_dtype():
    cache = ops.cast(normal(3, 2, 5, 2), "float16")
    assert update_cache(cache, normal(3, 2, 1, 2), 4).dtype == cache.dtype


@pytest.mark.parametrize(
    "index",
    [-1, 4, np.int64(4), np.array([0, 4, 0]), [0, -1, 0], "tensor"],
    ids=str,
)
def test_tokens_that_do_not_fit_are_an_error(index):
    if isinstance(index, str):
        index = ops.convert_to_tensor([0, 4, 0], "int32")
    with pytest.raises(ValueError, match="0 to 3. Received: index with"):
        update_cache(normal(3, 2, 5, 2), normal(3, 2, 2, 2), index)


@pytest.mark.skipif(not JIT, reason="PyTorch knows every index: an error")
@pytest.mark.parametrize("index", [-1, 4, 5])
def test_tokens_that_do_not_fit_are_nan_where_it_cannot_be_told(index):
    """And with them all that attends: a weight of 0 times NaN is NaN."""
    cache, new = normal(3, 2, 5, 4), 1 + normal(3, 2, 2, 4)
    got = compiled(update_cache)
    one = to_numpy(got(cache, new, index))
    assert np.isnan(one).any(axis=(1, 2, 3)).all()
    many = to_numpy(got(cache, new, np.array([0, index, 3], "int32")))
    want = expected(cache[::2], new[::2], [0, 3])
    np.testing.assert_array_equal(many[::2], want)
    assert np.isnan(many[1]).any()


def test_more_tokens_than_slots_are_refused():
    with pytest.raises(ValueError, match="6 tokens do not fit .* of 5 slots"):
        update_cache(normal(3, 2, 5, 2), normal(3, 2, 6, 2), 0)


@pytest.mark.parametrize("index", [1.0, True, [0.5, 1.0, 2.0], "1"], ids=str)
def test_an_index_that_is_no_integer_is_refused(index):
    with pytest.raises(ValueError, match="Received: index="):
        update_cache(normal(3, 2, 5, 2), normal(3, 2, 1, 2), index)


@pytest.mark.parametrize("index", [[0], [0, 1], [[0], [1], [2]]], ids=str)
def test_one_index_a_sample_is_not_broadcast(index):
    with pytest.raises(ValueError, match="Received: index of shape"):
        update_cache(normal(3, 2, 5, 2), normal(3, 2, 1, 2), index)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="shapes are known elsewhere"
)
def test_lengths_that_are_not_known_are_compared_in_the_program():
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec((3, 2, None, 4)),
            tf.TensorSpec((3, 2, None, 4)),
        ]
    )
    def write(cache, new):
        return update_cache(cache, new, 3)

    cache, new = normal(3, 2, 5, 4), 1 + normal(3, 2, 3, 4)
    got = write(cache, new[:, :, :2]).numpy()
    np.testing.assert_array_equal(got, expected(cache, new[:, :, :2], 3))
    assert np.isnan(write(cache, new).numpy()).any()
