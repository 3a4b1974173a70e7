"""Article: https://kexue.fm/archives/8978"""

import keras
import numpy as np
import pytest

from su_models.models.transformer.scaled_truncated_normal import (
    ScaledTruncatedNormal,
)
from tests.contract import to_numpy


@pytest.mark.parametrize(
    ("shape", "arguments", "deviation"),
    [
        ((400, 300), {"num_layers": 4}, 4**-0.5 / 20),
        ((400, 300), {"num_layers": 8, "order": 3, "gain": 2}, 1 / 20),
        ((10001, 25), {"num_layers": 1}, 1 / 5),  # a table of tokens
        ((2, 40000), {"num_layers": 1}, 1 / 200),  # of segments
        ((400, 300), {"num_layers": 1, "h": 25}, 1 / 5),
    ],
)
def test_deviation(shape, arguments, deviation):
    values = to_numpy(ScaledTruncatedNormal(seed=1, **arguments)(shape))
    np.testing.assert_allclose(values.std(), deviation, rtol=0.01)
    # cut off at two deviations of the normal before it was cut
    assert np.abs(values).max() <= 2 * 1.1369 * deviation


def test_config():
    made = ScaledTruncatedNormal(3, order=3, gain=0.5, h=7, seed=1)
    again = keras.initializers.deserialize(keras.initializers.serialize(made))
    assert again.get_config() == made.get_config()
    np.testing.assert_array_equal(
        to_numpy(made((3, 4))), to_numpy(again((3, 4)))
    )


@pytest.mark.parametrize("name", ["num_layers", "order", "gain", "h"])
def test_wrong_arguments(name):
    with pytest.raises(ValueError, match=f"Received: {name}=-1"):
        ScaledTruncatedNormal(**{"num_layers": 1, name: -1})
