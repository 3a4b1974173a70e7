import time

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.sequential_map import sequential_map

TENSORFLOW = keras.config.backend() == "tensorflow"


def square(k):
    return ops.cast(ops.full((2, 3), k * k), "float32")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_results_are_stacked(count):
    y = ops.convert_to_numpy(sequential_map(square, count, (2, 3)))
    expected = np.arange(count, dtype="float32")[:, None, None] ** 2
    assert y.shape == (count, 2, 3) and y.dtype == np.float32
    np.testing.assert_array_equal(y, np.broadcast_to(expected, y.shape))


@pytest.mark.skipif(not TENSORFLOW, reason="unknown length: TensorFlow only")
@pytest.mark.parametrize("count", [-2, 0, 1, 4])
def test_length_may_be_a_tensor(count):
    import tensorflow as tf

    signature = [tf.TensorSpec((), tf.int32)]

    @tf.function(input_signature=signature, autograph=False)
    def run(count):
        y = sequential_map(square, count, (2, 3))
        assert y.shape.as_list() == [None, 2, 3]
        return y

    expected = sequential_map(square, count, (2, 3))
    np.testing.assert_array_equal(run(count), expected)


@pytest.mark.skipif(not TENSORFLOW, reason="unknown length: TensorFlow only")
def test_calls_in_a_graph_do_not_overlap_and_none_is_wasted():
    import tensorflow as tf

    at_work, seen = [], []

    def slow(k):
        at_work.append(k)
        seen.append(len(at_work))
        time.sleep(0.02)  # lets the others begin
        at_work.remove(k)
        return np.zeros(2, "float32")

    @tf.function(autograph=False)
    def run(count):
        def fn(k):
            return tf.ensure_shape(
                tf.numpy_function(slow, [k], tf.float32, stateful=False), (2,)
            )

        return sequential_map(fn, count, (2,))

    run(tf.constant(6))
    assert seen == [1] * 6


@pytest.mark.skipif(TENSORFLOW, reason="TensorFlow has it")
def test_unknown_length_is_refused_elsewhere():
    with pytest.raises(NotImplementedError, match="tensorflow"):
        sequential_map(square, ops.convert_to_tensor(3), (2, 3))
