"""The converter against Keras: the same numbers from the same weights."""

import keras
import numpy as np
import pytest
from keras import layers

from su_models.layers import TimestepEmbedding
from su_models.models import build_ddpm
from tests.contract import normal

pytestmark = pytest.mark.parity
IMAGE, VECTOR = (6, 4, 8), (10,)


@pytest.fixture(scope="module", params=["contiguous_format", "channels_last"])
def convert(request):
    """A function from a Keras model to one of NumPy arrays, by PyTorch."""
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    from benchmarks.common.torch_graph import to_torch

    def convert(model):
        module = to_torch(model, getattr(torch, request.param))

        def run(*inputs):
            tensors = [torch.from_numpy(np.array(x)) for x in inputs]
            with torch.inference_mode():
                y = module(*map(channels_first, tensors)).cpu()
            return (y.permute(0, 2, 3, 1) if y.ndim == 4 else y).numpy()

        return run

    def channels_first(x):
        if x.ndim != 4:
            return x
        order = getattr(torch, request.param)
        return x.permute(0, 3, 1, 2).contiguous(memory_format=order)

    return convert


def fresh(layer):
    """Another of its kind: the converter takes no layer that is shared."""
    return layer.from_config(layer.get_config())


def randomize(model):
    random = np.random.default_rng(1)
    for v in model.weights:
        before = keras.ops.convert_to_numpy(v)
        v.assign(before + 0.3 * random.normal(size=v.shape))


def assert_same(convert, model, *inputs):
    randomize(model)
    ours = convert(model)(*inputs)
    x = list(inputs) if len(inputs) > 1 else inputs[0]
    peers = model.predict_on_batch(x)  # compiled: soon done on JAX
    assert ours.shape == peers.shape and peers.std() > 1e-2
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Activation("linear"),
        layers.Activation("relu"),
        layers.Activation("sigmoid"),
        layers.Activation("swish"),
        layers.Activation("tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(5, 3, activation="swish"),
        layers.Conv2D(5, (3, 1), padding="same", use_bias=False),
        layers.Dense(3, activation="swish"),
        layers.Dense(3, use_bias=False),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.GroupNormalization(4, epsilon=1e-2),
        layers.MaxPooling2D((3, 2)),
        layers.Permute((3, 1, 2)),
        layers.Reshape((2, 3, 4, 2, 4)),
        layers.Reshape((12, 2, 8)),
        layers.UpSampling2D((2, 3)),
    ],
    ids=lambda layer: layer.name,
)
def test_layers_of_images(convert, layer):
    x = keras.Input(IMAGE)
    assert_same(convert, keras.Model(x, fresh(layer)(x)), normal(2, *IMAGE))


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(3, activation="swish"),
        layers.LayerNormalization(epsilon=1e-2),
        layers.Reshape((1, 5, 2)),
    ],
    ids=lambda layer: layer.name,
)
def test_layers_of_vectors(convert, layer):
    x = keras.Input(VECTOR)
    assert_same(convert, keras.Model(x, fresh(layer)(x)), normal(3, *VECTOR))


@pytest.mark.parametrize("layer", [layers.Add(), layers.Concatenate()])
@pytest.mark.parametrize("shape", [IMAGE, VECTOR])
def test_layers_of_several_inputs(convert, layer, shape):
    inputs = [keras.Input(shape) for _ in range(3)]
    model = keras.Model(inputs, fresh(layer)(inputs))
    assert_same(convert, model, *normal(3, 2, *shape))


@pytest.mark.parametrize("sinusoidal", [False, True])
def test_steps_count_from_1(convert, sinusoidal):
    t = keras.Input((), dtype="int32")
    model = keras.Model(t, TimestepEmbedding(9, 4, sinusoidal)(t))
    assert_same(convert, model, np.array([9, 1, 4], "int32"))


@pytest.mark.parametrize(
    "words",
    [
        {"variant": "dense", "image_shape": (8, 8, 1), "widths": (16,)},
        {"variant": "ho", "image_shape": (8, 12, 2), "widths": (8, 16)},
        {"variant": "su", "image_shape": (8, 12, 2), "widths": (8, 16)},
        {
            "variant": "ho",
            "image_shape": (8, 16, 3),
            "widths": (8, 16),
            "patch_size": 2,
        },
    ],
    ids=["dense", "ho", "su", "patches"],
)
def test_networks_of_the_benchmark(convert, words):
    net = build_ddpm(**words, blocks=1, groups=4, num_steps=9, dropout=0.1)
    x = normal(3, *words["image_shape"])
    assert_same(convert, net, x, np.array([9, 1, 4], "int32"))


def test_unknown_layers_are_refused(convert):
    x = keras.Input(VECTOR)
    model = keras.Model(x, layers.Softmax()(x))
    with pytest.raises(ValueError, match="Received: layer=<Softmax"):
        convert(model)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Activation("elu"),
        layers.Conv2D(4, 3, strides=2),
        layers.Conv2D(4, 3, groups=2),
        layers.AveragePooling2D(2, padding="same"),
        layers.Concatenate(axis=1),
        layers.LayerNormalization(),
        layers.UpSampling2D(2, interpolation="bilinear"),
    ],
    ids=lambda layer: layer.name,
)
def test_unknown_arguments_are_refused(convert, layer):
    x, layer = keras.Input(IMAGE), fresh(layer)
    y = layer([x, x]) if isinstance(layer, layers.Concatenate) else layer(x)
    with pytest.raises(ValueError, match=f"Received: {type(layer).__name__},"):
        convert(keras.Model(x, y))


def test_a_layer_used_twice_is_refused(convert):
    x, dense = keras.Input(VECTOR), layers.Dense(10)
    model = keras.Model(x, layers.Activation("relu")(dense(dense(x))))
    with pytest.raises(ValueError, match="Each layer must be used once"):
        convert(model)
    model = keras.Model(x, dense(dense(x)))
    with pytest.raises(ValueError, match="that is used once. Received"):
        convert(model)
