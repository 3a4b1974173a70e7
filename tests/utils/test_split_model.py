"""`split_model`: what depends on some inputs alone, and the rest."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from su_models.utils.split_model import split_model


def image_and_step():
    return keras.Input((4, 4, 2), name="x"), keras.Input((), name="t")


def vector(t, width=6):
    t = layers.Reshape((1,))(t)
    return layers.Dense(width, "tanh", name="vector")(t)


def add(x, t):
    t = layers.Reshape((1, 1, 6))(vector(t))
    return layers.Add()([layers.Conv2D(6, 3, padding="same")(x), t])


def concatenate(x, t):
    """Needs the conditions of each image: one row would not do."""
    t = layers.UpSampling2D(4)(layers.Reshape((1, 1, 6))(vector(t)))
    return layers.Conv2D(3, 1)(layers.Concatenate()([x, t]))


def keyword(x, t):
    attend = layers.MultiHeadAttention(2, 3)
    t = layers.Reshape((1, 6))(vector(t))
    return attend(layers.Reshape((16, 2))(x), value=t, key=2 * t)


def shared_layer(x, t):
    dense = layers.Dense(2)
    t = layers.Reshape((1, 1, 2))(vector(t, 2))
    return layers.Add()([dense(t), dense(x), dense(dense(t))])


def step_beside_what_it_gives(x, t):
    scale = layers.Reshape((1, 1, 1))(t)
    return add(x, t) * ops.sin(scale) + layers.Reshape((1, 1, 1))(t)


def nested(x, t):
    inputs = image_and_step()
    inner = keras.Model(inputs, add(*inputs))
    return inner([x, ops.cos(t)])


GRAPHS = [
    add,
    concatenate,
    keyword,
    shared_layer,
    step_beside_what_it_gives,
    nested,
]


def build(graph):
    x, t = image_and_step()
    return keras.Model([x, t], graph(x, t))


def data():
    random = np.random.default_rng(0)
    return [
        ops.convert_to_tensor(random.normal(size=shape), "float32")
        for shape in ((3, 4, 4, 2), (3,))
    ]


def numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def run(first, rest, x, t):
    return numpy(rest([x, t, *keras.tree.flatten(first([t]))]))


@pytest.mark.parametrize("graph", GRAPHS)
def test_both_parts_together_are_the_model(graph):
    model, (x, t) = build(graph), data()
    first, rest = split_model(model, [model.inputs[1]])
    np.testing.assert_allclose(
        run(first, rest, x, t), numpy(model([x, t])), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("graph", [add, concatenate, keyword, shared_layer])
def test_what_was_taken_out_is_not_done_again(graph):
    model = build(graph)
    first, rest = split_model(model, [model.inputs[1]])
    assert "vector" in [layer.name for layer in first.layers]
    assert "vector" not in [layer.name for layer in rest.layers]


def test_it_is_taken_as_far_as_it_leads():
    model = build(add)
    first, _ = split_model(model, [model.inputs[1]])
    (given,) = first.outputs
    assert given.shape == (None, 1, 1, 6)


def test_the_other_input_can_be_the_fixed_one():
    model, (x, t) = build(concatenate), data()
    assert split_model(model, [model.inputs[0]]) == (None, model)
    model = build(add)
    first, rest = split_model(model, [model.inputs[0]])
    (features,) = first.outputs
    assert features.shape == (None, 4, 4, 6)
    y = rest([x, t, first([x])])
    np.testing.assert_allclose(numpy(y), numpy(model([x, t])), atol=1e-6)


def test_weights_are_shared():
    model, (x, t) = build(add), data()
    first, rest = split_model(model, [model.inputs[1]])
    model.set_weights([2 * w + 1 for w in model.get_weights()])
    np.testing.assert_allclose(
        run(first, rest, x, t), numpy(model([x, t])), rtol=1e-6, atol=1e-6
    )


def test_the_model_stays_as_it_is(tmp_path):
    model, (x, t) = build(concatenate), data()
    before, config = numpy(model([x, t])), model.get_config()
    for _ in range(2):
        split_model(model, [model.inputs[1]])
    assert model.get_config() == config
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(again([x, t])), before)
    np.testing.assert_array_equal(numpy(model([x, t])), before)


def test_low_precision_passes_from_part_to_part():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, (x, t) = build(add), data()
    finally:
        keras.config.set_dtype_policy("float32")
    first, rest = split_model(model, [model.inputs[1]])
    assert first.outputs[0].dtype == "bfloat16"
    np.testing.assert_array_equal(run(first, rest, x, t), numpy(model([x, t])))


class OwnCall(keras.Model):
    """Functional inside, and more around."""

    def call(self, inputs, training=None):
        return 2.0 * super().call(inputs, training=training)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs[0]) * inputs[1][:, None, None, None]


def test_models_with_a_call_of_their_own_are_left_whole():
    x, t = image_and_step()
    own = OwnCall([x, t], add(x, t))
    assert split_model(own, [t]) == (None, own)
    subclassed = Subclassed()
    subclassed(data())
    assert split_model(subclassed, []) == (None, subclassed)


def test_a_model_without_such_a_part_is_left_whole():
    x, t = image_and_step()
    model = keras.Model([x, t], layers.Add()([x, layers.Flatten()(x)[:, :2]]))
    assert split_model(model, [t]) == (None, model)
    model = keras.Model([x, t := keras.Input((1, 1, 1))], x * t)
    assert split_model(model, [t]) == (None, model)
