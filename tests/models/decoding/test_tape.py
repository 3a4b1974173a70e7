"""A record of the calls of a functional model."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.models.decoding.tape import (
    filled,
    record,
    store,
    symbolic,
)
from tests.models.decoding.whole import build, restored


def test_the_calls_are_of_the_layers_of_the_model(tmp_path):
    model = restored(build("t5.1.1"), tmp_path)
    tape = record(model)
    layers = {id(layer) for layer in model.layers}
    made = [c.operation for c in tape.needed(tape.outputs)]
    assert all(id(layer) in layers for layer in made)
    assert {id(layer) for layer in made} == layers - {
        id(x._keras_history.operation) for x in model.inputs
    }
    config = model.get_config()
    assert config == model.get_config()


def test_a_replay_gives_the_outputs_of_the_model():
    model = build("roformer-unilm")
    tape = record(model)
    ids = np.array([[3, 9, 4]])
    inputs = [ops.convert_to_tensor(x) for x in (ids, ids * 0)]
    values = dict(zip(map(id, tape.inputs), inputs, strict=True))
    for call in tape.needed(tape.outputs):
        args, kwargs = filled((call.args, call.kwargs), values)
        store(values, call.outputs, call.operation(*args, **kwargs))
    y = [values[id(x)] for x in tape.outputs]
    np.testing.assert_allclose(
        *map(ops.convert_to_numpy, (y[0], model(inputs)))
    )


def test_only_needed_calls_are_found():
    x = keras.Input((3,))
    first, second = keras.layers.Dense(2), keras.layers.Dense(2)
    tape = record(keras.Model(x, [first(x), second(x)]))
    (call,) = tape.needed(tape.outputs[:1])
    assert call.operation is first and call.name == first.name
    assert list(call.arguments) == ["inputs"]
    assert symbolic({"a": [call.inputs, 3]}) == call.inputs


@pytest.mark.parametrize("model", ["sequential", "subclass", 3, None])
def test_other_models_are_rejected(model):
    if model == "sequential":
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    if model == "subclass":
        model = type("Net", (keras.Model,), {})()
    with pytest.raises(ValueError, match="functional.*Received: model="):
        record(model)
