import keras
import numpy as np
from keras import ops

from su_models.layers import (
    FeedForward,
    GatedAttentionUnit,
    GlobalPointer,
    MultiHeadAttention,
)
from su_models.utils.initializers import fresh_initializer
from tests.contract import normal


def test_a_copy_draws_its_own_numbers():
    one = keras.initializers.RandomNormal()
    other = fresh_initializer(one)
    draws = [ops.convert_to_numpy(f((3, 4))) for f in (one, other)]
    assert (draws[0] != draws[1]).any()
    with_seed = keras.initializers.RandomNormal(seed=3)
    same = [with_seed, fresh_initializer(with_seed)]
    draws = [ops.convert_to_numpy(f((3, 4))) for f in same]
    np.testing.assert_array_equal(*draws)


def test_a_function_is_taken_by_every_layer():
    def threes(shape, dtype=None):
        return 3.0 * ops.ones(shape, dtype)

    assert fresh_initializer(threes) is threes
    for layer in (
        FeedForward(5, kernel_initializer=threes),
        GatedAttentionUnit(4, 4, kernel_initializer=threes),
        GlobalPointer(2, 4, kernel_initializer=threes),
        MultiHeadAttention(2, 4, kernel_initializer=threes),
    ):
        layer(normal(2, 3, 6))
        kernels = [w for w in layer.weights if "kernel" in w.path]
        assert kernels
        for w in kernels:
            assert (ops.convert_to_numpy(w) == 3.0).all()
