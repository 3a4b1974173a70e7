"""Article: https://kexue.fm/archives/6915"""

import json

import keras
import numpy as np

from su_models.models.transformer.postponed import Postponed, Wait


def numbers(initializer, shape=(40, 50)):
    return keras.ops.convert_to_numpy(initializer(shape, "float32"))


def test_zeros_come_only_while_it_waits():
    wait = Wait()
    inner = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    initializer = Postponed(inner, wait)
    copy = initializer.clone()
    assert not numbers(initializer).any() and not numbers(copy).any()
    wait.on = False
    np.testing.assert_array_equal(numbers(initializer), numbers(inner))
    assert abs(numbers(copy).std() - 0.5) < 0.05


def test_a_copy_from_the_configuration_does_not_wait():
    inner = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    config = keras.initializers.serialize(Postponed(inner, Wait()))
    copy = keras.initializers.get(json.loads(json.dumps(config)))
    assert isinstance(copy, Postponed)
    np.testing.assert_array_equal(numbers(copy), numbers(inner))


def test_layers_take_it():
    wait = Wait()
    layer = keras.layers.Dense(3, kernel_initializer=Postponed("ones", wait))
    layer.build((None, 4))
    assert not np.any(layer.get_weights()[0])
