"""What is found in the graph of a functional model."""

import keras
import numpy as np
import pytest
from keras import layers

from su_models.training.graph import (
    functional,
    input_structure,
    is_float,
    last_activations,
    lookups,
    maskers,
)
from tests.contract.base import normal, to_numpy
from tests.training.composite import TokensAndPositions, composite


def test_only_the_graph_of_a_plain_model_is_known():
    class OwnCall(keras.Model):
        def call(self, x):
            return super().call(2 * x)

    x = keras.Input((3,))
    y = layers.Dense(1)(x)
    assert functional(keras.Model(x, y)) is not None
    assert functional(keras.Sequential([x, layers.Dense(1)])) is not None
    for other in (OwnCall(x, y), keras.Sequential(), layers.Dense(1), None):
        assert functional(other) is None


def test_inputs_have_their_structure():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    y = layers.Add()([a, b])
    assert input_structure(keras.Model({"b": b, "a": a}, y))["b"] is b
    assert input_structure(keras.Model([a, b], y))[0] is a
    row = keras.Sequential([a, layers.Dense(1)])
    assert input_structure(row) is row.inputs[0]
    assert input_structure(keras.Sequential()) is None


def test_lookups_are_embeddings_and_layers_around_them():
    assert lookups(composite()) == {
        "composite": ["tokens", "places"],
        "more": None,
    }
    net = composite()
    ids = keras.Input((7,), dtype="int32")
    outer = keras.Model(ids, net(ids))
    assert lookups(outer) == lookups(net)
    assert lookups(keras.Sequential([keras.Input((3,)), layers.Dense(1)])) == {}
    assert isinstance(net.get_layer("composite"), TokensAndPositions)


def masked():
    """An input under two masks, one of them inside, and one without."""
    steps = keras.Input((None, 4), name="steps")
    image = keras.Input((5, 5, 3), name="image")
    inner = keras.Sequential(
        [
            keras.Input((None, 4)),
            layers.Dropout(0.1),
            layers.Masking(-1.0, name="inside"),
        ],
        name="inner",
    )
    direct = layers.Masking(name="direct")
    states = [layers.LSTM(2)(f(steps)) for f in (direct, inner)]
    pooled = layers.GlobalAveragePooling2D()(image)
    y = layers.Concatenate()([*states, pooled])
    return keras.Model([steps, image], layers.Dense(1)(y))


def test_maskers_are_found_with_the_way_to_them():
    of_steps, of_image = maskers(masked())
    assert of_image == []
    found = {layer.name: chain for chain, layer in of_steps}
    assert {*found} == {"direct", "inside"} and found["direct"] == []
    x = normal(2, 7, 4)
    (dropout,) = found["inside"]
    np.testing.assert_array_equal(to_numpy(dropout(x)), x)


class FlagsPadding(layers.Layer):
    """Takes the last feature as the mask."""

    def call(self, x):
        return x[..., :-1]

    def compute_mask(self, x, previous_mask=None):
        return x[..., -1] > 0


def test_a_mask_of_another_layer_counts():
    x = keras.Input((None, 4))
    layer = FlagsPadding()
    y = layers.LSTM(2)(layer(layers.Activation("tanh")(x)))
    ((chain, found),) = maskers(keras.Model(x, y))[0]
    (tanh,) = chain
    assert found is layer
    np.testing.assert_allclose(to_numpy(tanh(np.ones(1))), np.tanh([1.0]))


def test_a_mask_of_other_axes_is_none_of_the_input():
    x = keras.Input((6, 4))
    y = layers.Masking()(layers.Reshape((3, 8))(x))
    assert maskers(keras.Model(x, layers.LSTM(2)(y))) == [[]]


def mixture(x):
    return keras.ops.softmax(x)


@pytest.mark.parametrize(
    ("last", "found"),
    [
        (layers.Dense(2), ["linear"]),
        (layers.Dense(2, "softmax"), ["softmax"]),
        (layers.Dense(2, mixture), []),  # unknown: it may be anything
        (layers.Activation("sigmoid"), ["sigmoid"]),
        (layers.Softmax(), []),
        (layers.Conv1D(2, 1, activation="relu"), ["relu"]),
    ],
)
def test_the_last_activation_is_found(last, found):
    x = keras.Input((5, 3))
    inner = keras.Model(x, last(x))
    y = keras.Input((5, 3))
    outer = keras.Model(y, [inner(y), inner.layers[-1](y)])
    names = [f.__name__ for _, f in last_activations(inner)]
    assert names == found
    names = [f.__name__ for _, f in last_activations(outer)]
    assert names == 2 * found


def test_floats_of_any_size():
    for dtype in ("float16", "bfloat16", "float64"):
        assert is_float(keras.KerasTensor((1,), dtype))
    for dtype in ("int32", "bool", "uint8"):
        assert not is_float(keras.KerasTensor((1,), dtype))
