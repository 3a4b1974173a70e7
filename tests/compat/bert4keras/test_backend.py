"""The numbers are compared with bert4keras in tests/parity/test_compat.py."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.compat.bert4keras import backend
from su_models.compat.bert4keras.models import build_transformer_model
from tests.contract import integers, normal, to_numpy

X = normal(2, 7, 6)
MASK = np.arange(7) < np.array([[7], [4]])
SIZES = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 9,
    "hidden_act": "gelu",
}


def test_every_name_is_there():
    for name in backend.__all__:
        assert hasattr(backend, name), name
    assert backend.keras is keras


def test_align_moves_axes():
    assert backend.align(MASK, [0, 2]).shape == (2, 1, 7)
    assert backend.align(MASK, [0, -1], 4).shape == (2, 1, 1, 7)


def test_where_broadcasts_and_takes_numbers():
    y = backend.where(MASK.astype("float32")[..., None], X, 0.0)
    np.testing.assert_array_equal(to_numpy(y), np.where(MASK[..., None], X, 0))


def test_masking():
    f = backend.sequence_masking
    assert f(X) is X
    y, mask = f(X, MASK, "-inf", return_mask=True)
    assert mask.shape == (2, 7, 1)
    expected = np.where(MASK[..., None], X, -np.inf)
    np.testing.assert_array_equal(to_numpy(y), expected)
    y = f(X, None, bias=np.ones((2, 7, 6), "float32"))
    np.testing.assert_allclose(to_numpy(y), X + 1)


def test_attention_of_a_row_without_keys_is_zero():
    scores = ops.convert_to_tensor(normal(2, 7, 7))
    weights = backend.attention_normalize(scores, np.zeros((2, 7), bool))
    assert (to_numpy(weights) == 0).all()
    weights = backend.attention_normalize(scores)
    np.testing.assert_allclose(to_numpy(weights).sum(-1), 1, rtol=1e-5)


def test_gather_takes_floats():
    ids = integers(7, 2, 3).astype("float32")
    y = backend.batch_gather(X, ids)
    for b, row in enumerate(ids.astype(int)):
        np.testing.assert_array_equal(to_numpy(y)[b], X[b, row])


def test_an_impossible_label_adds_nothing_to_the_loss():
    labels = (X > 0).astype("float32")
    scores = X.copy()
    scores[..., 2] = -np.inf
    loss = backend.multilabel_categorical_crossentropy(labels, scores)
    others = [0, 1, 3, 4, 5]
    fewer = backend.multilabel_categorical_crossentropy(
        labels[..., others], X[..., others]
    )
    np.testing.assert_allclose(to_numpy(loss), to_numpy(fewer), rtol=1e-5)


def test_lists_without_labels_have_a_finite_loss():
    loss = backend.sparse_multilabel_categorical_crossentropy(
        np.zeros((2, 7, 1)), X, mask_zero=True
    )
    expected = np.log1p(np.exp(X[..., 1:]).sum(-1))
    np.testing.assert_allclose(to_numpy(loss), expected, rtol=1e-5)


def test_piecewise_linear():
    values = [
        float(backend.piecewise_linear(t, {2: 1, 4: 0.5}, from_zero))
        for from_zero in (True, False)
        for t in (0, 1, 3, 9)
    ]
    assert values == [0.0, 0.5, 0.75, 0.5, 1.0, 1.0, 0.75, 0.5]


def test_sinusoidal_initializer():
    rows = to_numpy(backend.Sinusoidal()((5, 6)))
    expected = to_numpy(backend.sinusoidal_embeddings(np.arange(5), 6))
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_rotation_needs_tensors_and_returns_as_many():
    angles = ops.convert_to_tensor(normal(1, 7, 6))
    x = ops.convert_to_tensor(X)
    one = backend.apply_rotary_position_embeddings(angles, x)
    two = backend.apply_rotary_position_embeddings(angles, x, x)
    np.testing.assert_array_equal(to_numpy(one), to_numpy(two[1]))
    with pytest.raises(ValueError, match="Received: none"):
        backend.apply_rotary_position_embeddings(angles)


def test_small_functions():
    assert backend.symbolic(len) is backend.recompute_grad(len) is len
    x = ops.convert_to_tensor(X)
    np.testing.assert_allclose(
        to_numpy(backend.leaky_relu(x)), np.where(X > 0, X, 0.2 * X), rtol=1e-6
    )
    assert backend.pool1d(x, 2).shape == (2, 6, 6)
    assert backend.divisible_temporal_padding(x, 4).shape == (2, 8, 6)
    rms = backend.root_mean_square(x)
    np.testing.assert_allclose(float(rms), np.sqrt((X**2).mean()), rtol=1e-5)


def test_set_gelu_changes_models_built_later_and_not_keras():
    exact = keras.activations.get("gelu")
    try:
        backend.set_gelu("tanh")
        first = build_transformer_model(**SIZES)
        backend.set_gelu("ERF")
        second = build_transformer_model(**SIZES)
        with pytest.raises(ValueError, match="Received: version='relu'"):
            backend.set_gelu("ReLU")
    finally:
        backend.set_gelu("erf")
    name = "Transformer-0-FeedForward"
    assert first.get_layer(name).activation is backend.gelu_tanh
    assert second.get_layer(name).activation is exact
    assert keras.activations.get("gelu") is exact
    config = first.get_layer(name).get_config()
    assert type(first.get_layer(name)).from_config(config)


def test_search_layer_finds_layers_before_a_tensor():
    model = build_transformer_model(**SIZES)
    dense = keras.layers.Dense(2)
    outputs = dense(model.output)
    found = backend.search_layer(outputs, "Embedding-Token")
    assert found is model.get_layer("Embedding-Token")
    assert backend.search_layer(dense, "Embedding-Token") is found
    assert backend.search_layer(model, "Embedding-Token") is found
    assert backend.search_layer(outputs, dense.name) is dense
    assert backend.search_layer(outputs, "no-such-layer") is None
    assert backend.search_layer(outputs, found.name, {found}) is None
    inner = keras.Model(model.inputs, dense(model(model.inputs)))
    assert backend.search_layer(inner.output, "Embedding-Token") is found
    with pytest.raises(ValueError, match="symbolic"):
        backend.search_layer(ops.ones((2, 3)), "Embedding-Token")
