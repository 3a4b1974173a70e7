"""Masks are read and attached as Keras' own layers do it."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.backend.keras_mask import mask_of, with_mask
from tests.contract import normal, to_numpy

IDS = np.array([[3, 1, 0], [2, 0, 0]])


def embed():
    layer = keras.layers.Embedding(5, 4, mask_zero=True)
    layer.build()
    return layer


def test_mask_of_a_layers_output():
    np.testing.assert_array_equal(
        ops.convert_to_numpy(mask_of(embed()(IDS))), IDS > 0
    )


def test_what_has_no_mask():
    assert mask_of(normal(2, 3)) is None
    assert mask_of(ops.convert_to_tensor(normal(2, 3))) is None


@pytest.mark.parametrize("inside", [compiled, None])
def test_mask_in_compiled_programs_and_under_a_gradient(inside):
    layer = embed()

    def masked(ids):
        return ops.cast(mask_of(layer(ids)), "float32")

    def attached(x):
        y = with_mask(x * 2.0, x > 0)
        return y * ops.cast(mask_of(y), "float32")

    run = inside or (lambda fn: fn)
    got = to_numpy(run(masked)(ops.convert_to_tensor(IDS, "int32")))
    np.testing.assert_array_equal(got, IDS > 0)
    x = normal(3, 4)
    got = to_numpy(run(attached)(ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(got, 2 * np.maximum(x, 0))
    slope = run(lambda x: gradient(lambda x: ops.sum(attached(x)), x))
    got = to_numpy(slope(ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(got, 2.0 * (x > 0))


def test_the_next_layer_is_given_the_mask():
    x = normal(2, 3, 4)
    masked = with_mask(ops.convert_to_tensor(x), IDS > 0)
    mean = to_numpy(keras.layers.GlobalAveragePooling1D()(masked))
    np.testing.assert_allclose(mean[1], x[1, 0], rtol=1e-6)


@pytest.mark.parametrize("inside", [compiled, None])
def test_a_mask_takes_the_place_of_another(inside):
    layer = embed()

    def replaced(ids):
        y = with_mask(layer(ids), ids == 1)
        return ops.cast(mask_of(y), "float32")

    run = inside or (lambda fn: fn)
    got = to_numpy(run(replaced)(ops.convert_to_tensor(IDS, "int32")))
    np.testing.assert_array_equal(got, IDS == 1)
