"""Article: https://kexue.fm/archives/9152"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled
from su_models.layers import AddTimestep
from tests.contract import JIT, normal, to_numpy


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 4, 5, 3)])
def test_every_position_of_an_image_has_its_vector(shape):
    h, v = normal(*shape), normal(2, 3)[::-1].copy()
    expected = np.empty_like(h)
    for place in np.ndindex(shape[:-1]):
        expected[place] = h[place] + v[place[0]]
    np.testing.assert_array_equal(to_numpy(AddTimestep()(h, v)), expected)


@pytest.mark.parametrize(
    ("h", "v"),
    [
        ((3, 4, 2), (1, 2)),
        ((1, 4, 2), (3, 2)),
        ((3, 4, 2), (3, 1)),
        ((3, 4, 1), (3, 2)),
        ((3, 4, 2), (3, 4, 2)),
        ((3, 4, 2), (2,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(h, v):
    layer = AddTimestep()
    layer(normal(3, 4, 2), normal(3, 2))  # also once it is built
    with pytest.raises(ValueError, match="`vector` must .*Received: vector"):
        layer(normal(*h), normal(*v))


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="sizes are known elsewhere"
)
def test_a_batch_that_is_unknown_is_not_broadcast():
    import tensorflow as tf

    shapes = [tf.TensorSpec((None, 4, 2)), tf.TensorSpec((None, 2))]
    add = tf.function(AddTimestep(), input_signature=shapes)
    h, v = normal(3, 4, 2), normal(3, 2)
    np.testing.assert_allclose(add(h, v), h + v[:, None])
    for n, m in ((3, 1), (1, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            add(h[:n], v[:m])


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled")
def test_it_compiles():
    h, v = normal(3, 4, 2), normal(3, 2)
    y = compiled(AddTimestep())(h, ops.convert_to_tensor(v))
    np.testing.assert_allclose(to_numpy(y), h + v[:, None])
