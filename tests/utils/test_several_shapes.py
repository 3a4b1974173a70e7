"""Several outputs are not taken for one."""

import keras
import pytest

from su_models.layers import (
    ONLSTM,
    FiniteScalarQuantizer,
    ResidualMultiHeadAttention,
    VectorQuantizer,
    VectorQuantizerEMA,
)
from su_models.utils.several_shapes import SeveralShapes


def test_it_is_a_tuple_of_shapes():
    shapes = SeveralShapes([(None, 7, 3), (None, 7)])
    assert shapes == ((None, 7, 3), (None, 7)) and shapes[1] == (None, 7)
    first, second = shapes
    assert (first, second) == shapes


def test_a_slice_is_refused():
    with pytest.raises(ValueError, match="one output.*Received: .*7, 3"):
        SeveralShapes([(None, 7, 3), (None, 7)])[1:]


@pytest.mark.parametrize(
    "layer",
    [
        VectorQuantizer(4),
        VectorQuantizerEMA(4),
        FiniteScalarQuantizer([5] * 8),
        ONLSTM(6, 3, return_distances=True),
        ResidualMultiHeadAttention(2, 4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_with_several_outputs_are_not_distributed_over_time(layer):
    inputs = keras.Input((3, 7, 8))
    with pytest.raises(ValueError, match="must have one output.*Received: "):
        keras.layers.TimeDistributed(layer)(inputs)
