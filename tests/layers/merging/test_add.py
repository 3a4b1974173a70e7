"""Article: https://kexue.fm/archives/6810"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import Add
from tests.contract import JIT, integers, normal, to_numpy


def embed(ids, mask_zero):
    return keras.layers.Embedding(9, 4, mask_zero=mask_zero)(ids)


class Seen(keras.layers.Layer):
    """Returns the mask that reaches it: -1 if there is none."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return -ops.ones_like(inputs[..., 0])
        return ops.cast(mask, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]


def test_it_is_the_sum():
    x, y, z = normal(2, 5, 6), normal(2, 5, 6)[::-1].copy(), normal(2, 1, 6)
    np.testing.assert_allclose(to_numpy(Add()([x, y, z])), x + y + z, atol=1e-6)


@pytest.mark.parametrize(
    ("masked", "expected"),
    [
        ((True, False), [1, 1, 0, 1, 0]),
        ((False, True), [1, 0, 1, 1, 0]),
        ((True, True), [1, 0, 0, 1, 0]),
        ((False, False), [-1] * 5),
        ((True, False, True), [1, 1, 0, 1, 0]),
        ((False, True, False), [1, 0, 1, 1, 0]),
    ],
)
@pytest.mark.parametrize("length", [None, 5])
def test_masks_of_some_inputs_are_kept(masked, expected, length):
    given = [np.array([i]) for i in ([3, 4, 0, 5, 0], [3, 0, 5, 6, 0])]
    ids = [keras.Input((length,), dtype="int32") for _ in given]
    parts = [embed(ids[k % 2], zero) for k, zero in enumerate(masked)]
    net = keras.Model(ids, Seen()(Add()(parts)))
    for mask in net(given), net.predict(given, verbose=0):
        np.testing.assert_array_equal(to_numpy(mask), [expected])


def test_the_mask_survives_training_and_saving(tmp_path):
    ids = [keras.Input((None,), dtype="int32") for _ in range(2)]
    x = Add(name="sum")([embed(ids[0], True), embed(ids[1], False)])
    x = keras.layers.GlobalAveragePooling1D()(x)
    net = keras.Model(ids, keras.layers.Dense(1)(x))
    net.compile("sgd", "mse", jit_compile=JIT)
    net.fit([integers(9, 4, 5), integers(2, 4, 5)], np.ones((4, 1)), verbose=0)
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    assert type(again.get_layer("sum")) is Add
    segments = np.zeros((1, 3), "int32")
    padded = again([np.array([[3, 4, 0]]), segments])
    bare = again([np.array([[3, 4]]), segments[:, :2]])
    np.testing.assert_allclose(to_numpy(padded), to_numpy(bare), atol=1e-6)


def test_old_files_tell_it_from_the_layer_of_keras(tmp_path):
    x = keras.Input((5,))
    y = Add(name="ours")([x, x])
    net = keras.Model(x, keras.layers.Add(name="theirs")([y, x]))
    net.save(tmp_path / "net.h5")
    again = keras.saving.load_model(tmp_path / "net.h5")
    assert type(again.get_layer("ours")) is Add
    assert type(again.get_layer("theirs")) is keras.layers.Add


def test_what_cannot_be_added_is_refused():
    for bad in (normal(2, 5), []):
        with pytest.raises(ValueError, match="a list of tensors. Received: "):
            Add()(bad)
    for other in (normal(2, 4), normal(3, 5)):
        with pytest.raises(ValueError, match="(Received|Got) "):
            Add()([normal(2, 5), other])
