"""The numbers are compared with bert4keras in tests/parity/test_compat.py."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from su_models.compat.bert4keras import layers
from su_models.compat.bert4keras.backend import K
from su_models.compat.bert4keras.layers import Loss
from tests.contract import integers, normal, to_numpy

X = normal(2, 7, 6)
MASK = np.arange(7) < np.array([[7], [4]])


def test_names_of_keras_are_there_except_where_ours_keep_masks():
    assert layers.Dense is keras.layers.Dense
    assert layers.Add is not keras.layers.Add
    space = {}
    exec(f"from {layers.__name__} import *", space)
    assert {"Dense", "Input", "Loss", "GlobalAveragePooling1D"} <= {*space}
    assert space["MultiHeadAttention"] is not keras.layers.MultiHeadAttention
    with pytest.raises(AttributeError):
        layers.NoSuchLayer  # noqa: B018


CONFIGS = {
    "Concatenate1D": {},
    "ConditionalRandomField": {"lr_multiplier": 3},
    "EfficientGlobalPointer": {"heads": 2, "head_size": 4, "RoPE": False},
    "Embedding": {"input_dim": 5, "output_dim": 6},
    "GatedAttentionUnit": {
        "units": 5,
        "key_size": 4,
        "attention_dropout": 0.1,
    },
    "GlobalMaxPooling1D": {},
    "GlobalPointer": {"heads": 2, "head_size": 4, "tril_mask": False},
    "Layer": {},
    "LayerNormalization": {"zero_mean": False, "epsilon": 1e-3},
    "Loss": {"output_axis": 1},
    "MaximumEntropyMarkovModel": {"lr_multiplier": 3, "hidden_dim": 2},
    "MultiHeadAttention": {
        "heads": 2,
        "head_size": 3,
        "out_dim": 5,
        "key_size": 4,
        "return_attention_scores": True,
    },
    "PositionEmbedding": {
        "input_dim": 9,
        "output_dim": 6,
        "custom_position_ids": True,
    },
    "RelativePositionEmbedding": {"input_dim": 5, "output_dim": 3},
    "RelativePositionEmbeddingT5": {
        "input_dim": 8,
        "output_dim": 2,
        "max_distance": 9,
    },
    "ScaleOffset": {"scale": 0.5, "offset": False},
    "SinusoidalPositionEmbedding": {"output_dim": 6, "merge_mode": "zero"},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_have_the_arguments_of_bert4keras(name):
    cls, arguments = getattr(layers, name), CONFIGS[name]
    config = cls(**arguments).get_config()
    assert {k: config[k] for k in arguments} == arguments
    copy = cls.from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config
    registered = keras.saving.get_registered_name(cls)
    assert registered == f"su_models.bert4keras>{name}"


class CrossEntropy(Loss):
    def compute_loss(self, inputs, mask=None):
        y_true, y_mask, y_pred = inputs
        loss = K.sparse_categorical_crossentropy(y_true, y_pred)
        y_mask = y_mask * K.cast(mask[2], K.floatx())
        return K.sum(loss * y_mask) / K.sum(y_mask)


def test_loss_of_ids_needs_no_loss_in_compile():
    ids = keras.Input((None,), dtype="int32")
    weights = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    outputs = keras.layers.Dense(5, "softmax")(x)
    outputs = CrossEntropy(2)([ids, weights, outputs])
    assert outputs.shape == (None, None, 5)
    model = keras.Model([ids, weights], outputs)
    model.compile("sgd", jit_compile=False)
    given = np.array([[1, 2, 0], [3, 1, 4]], "int32")
    weight = np.array([[1, 0, 1], [1, 1, 1]], "int32")
    p = to_numpy(model([given, weight]))
    real = (weight > 0) & (given > 0)
    losses = -np.log(np.take_along_axis(p, given[..., None], 2)[..., 0])
    expected = losses[real].mean()
    found = model.evaluate([given, weight], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    model.fit([given, weight], verbose=0)
    assert model.evaluate([given, weight], verbose=0) < expected


class Zero(Loss):
    def compute_loss(self, inputs, mask=None):
        return ops.zeros((2,))


@pytest.mark.parametrize(
    ("axis", "lengths", "masks"),
    [
        (None, [3, 4, 5], ["a", "b", "c"]),
        ([2, 0], [5, 3], ["c", "a"]),
        (1, 4, "b"),
    ],
)
def test_loss_returns_some_inputs_with_their_masks(axis, lengths, masks):
    layer = Zero(axis)
    inputs = [ops.ones((2, n)) for n in (3, 4, 5)]
    outputs = layer(inputs)
    if axis == 1:
        assert outputs.shape[1] == lengths
    else:
        assert [x.shape[1] for x in outputs] == lengths
    assert layer.compute_mask(inputs, ["a", "b", "c"]) == masks
    assert len(layer.losses) == 1


def test_loss_without_compute_loss_is_rejected():
    with pytest.raises(NotImplementedError, match="compute_loss"):
        Loss()([ops.ones((2, 3))])


def test_embedding_in_both_modes():
    layer = layers.Embedding(5, 6, mask_zero=True)
    ids = integers(5, 2, 7)
    x = layer(ids)
    y = layer(x, mode="dense")
    table = to_numpy(layer.embeddings)
    np.testing.assert_allclose(
        to_numpy(y), table[ids] @ table.T, rtol=1e-4, atol=1e-6
    )
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, layer(layer(inputs), mode="dense"))
    np.testing.assert_allclose(to_numpy(model(ids)), to_numpy(y), rtol=1e-5)


def test_lists_of_features_and_condition_or_positions(tmp_path):
    inputs, condition = keras.Input((None, 6)), keras.Input((3,))
    positions = keras.Input((None,))  # floats, as in bert4keras
    x = layers.LayerNormalization(conditional=True)([inputs, condition])
    x = layers.ScaleOffset(conditional=True, offset=False)([x, condition])
    x = layers.PositionEmbedding(9, 6, custom_position_ids=True)([x, positions])
    x = layers.SinusoidalPositionEmbedding(6)([x, positions])
    x = layers.PositionEmbedding(9, 6, "mul")(x)
    model = keras.Model([inputs, condition, positions], x)
    model.set_weights([w + 0.1 for w in model.get_weights()])
    given = [X, normal(2, 3), integers(9, 2, 7).astype("float32")]
    y = to_numpy(model(given))
    moved = to_numpy(model([X, given[1], (given[2] + 1) % 9]))
    assert np.abs(y - moved).max() > 1e-3
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(given)), y, atol=1e-6)


def test_joined_sequences_keep_their_masks():
    layer = layers.Concatenate1D()
    y = ops.ones((2, 3, 6))
    assert layer([X, y]).shape == (2, 10, 6)
    mask = to_numpy(layer.compute_mask([X, y], [MASK, None]))
    assert mask.sum(1).tolist() == [10, 7]
    assert layer.compute_mask([X, y], [None, None]) is None
    shape = layer.compute_output_shape([(None, None, 6), (None, 3, 6)])
    assert shape == (None, None, 6)


def test_maximum_of_real_steps():
    y = to_numpy(layers.GlobalMaxPooling1D()(X, mask=MASK))
    np.testing.assert_array_equal(y[1], X[1, :4].max(0))
    assert layers.GlobalMaxPooling1D().compute_output_shape((2, 7, 6)) == (2, 6)


def test_taggers_train_with_their_names(tmp_path):
    inputs = keras.Input((None, 6))
    crf = layers.ConditionalRandomField(lr_multiplier=10)
    model = keras.Model(inputs, crf(inputs))
    model.compile("adam", crf.sparse_loss, metrics=[crf.sparse_accuracy])
    before = K.eval(crf.trans)
    labels = integers(6, 2, 7).astype("float64")
    model.fit(X, labels, verbose=0)
    assert crf.lr_multiplier == 10
    assert np.abs(K.eval(crf.trans) - before).max() > 1e-3


def test_pointers_have_ours_scores():
    pointer = layers.GlobalPointer(2, 4)
    scores = to_numpy(pointer(X))
    assert scores.shape == (2, 2, 7, 7)
    assert (scores[:, :, 3, 1] == -1e12).all()


def test_layers_pass_masks_on():
    class Same(layers.Layer):
        def call(self, inputs):
            return inputs * 1.0

    inputs = keras.Input((None,), dtype="int32")
    x = Same()(keras.layers.Embedding(9, 4, mask_zero=True)(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
    padded, bare = (
        to_numpy(model(np.array([i], "int32"))) for i in ([3, 4, 0], [3, 4])
    )
    np.testing.assert_allclose(padded, bare, atol=1e-6)
