"""Sizes that do not match are an error, known or not."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.match_axes import match_axes, match_shape
from tests.contract import normal

only_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="sizes are known elsewhere"
)


def test_tensors_that_match_are_passed_on():
    x = ops.ones((3, 1, 5))
    assert match_axes("x", x, ops.ones((3, 4)), 1) is x
    assert match_axes("x", x, ops.ones((3, 1, 4)), 2) is x
    assert match_shape("x", x, ops.zeros((3, 1, 5))) is x


@pytest.mark.parametrize(("n", "m"), [(3, 1), (1, 3), (2, 3)])
def test_axes_that_differ_are_rejected(n, m):
    with pytest.raises(ValueError, match="`x` must .*Received: x of shape"):
        match_axes("x", ops.ones((n, 4)), ops.ones((m, 4)), 1)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 4, 1), (1, 4), (4, 3)])
def test_shapes_that_differ_are_rejected(shape):
    with pytest.raises(ValueError, match="`x` must .*Received: x of shape"):
        match_shape("x", ops.ones(shape), ops.ones((3, 4)))


@only_tensorflow
@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("match", [match_axes, match_shape])
def test_sizes_are_compared_when_they_become_known(match, jit):
    import tensorflow as tf

    add = tf.function(
        lambda x, y: match("x", x, y) + y,
        input_signature=[tf.TensorSpec((None, 4))] * 2,
        jit_compile=jit,
    )
    x = normal(3, 4)
    np.testing.assert_array_equal(add(x, x), 2 * x)
    for n, m in ((3, 1), (1, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            add(x[:n], x[:m])


@only_tensorflow
@pytest.mark.parametrize("jit", [True, False])
def test_a_gradient_passes(jit):
    import tensorflow as tf

    def slope(x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = tf.reduce_sum(match_axes("x", x, y) * y)
        return tape.gradient(z, x)

    free = tf.TensorSpec((None, 4))
    slope = tf.function(slope, input_signature=[free] * 2, jit_compile=jit)
    np.testing.assert_array_equal(
        slope(normal(3, 4), normal(3, 4)), normal(3, 4)
    )
