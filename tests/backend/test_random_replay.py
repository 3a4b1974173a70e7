"""Random numbers drawn again."""

import keras
import numpy as np
import pytest

from su_models.backend.random_replay import random_state, replayed
from tests.contract import to_numpy


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="others have Keras' variables"
)
def test_dropout_without_a_seed_is_drawn_again():
    dropout = keras.layers.Dropout(0.5)

    def draw():
        return to_numpy(dropout(np.ones((4, 25), "float32"), training=True))

    state = random_state()
    first = draw()
    with replayed(state):
        again, other = draw(), draw()
    with pytest.raises(KeyError), replayed(state):
        raise KeyError
    second = draw()  # and outside nothing has been drawn twice
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(second, other)
    assert (first != second).any()


def test_no_state_is_no_replay():
    with replayed(None):
        pass
    assert (random_state() is None) == (keras.config.backend() != "torch")
