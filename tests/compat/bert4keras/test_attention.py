"""The numbers are compared with bert4keras in tests/parity/test_compat.py."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.compat.bert4keras.attention import (
    GatedAttentionUnit,
    MultiHeadAttention,
)
from su_models.compat.bert4keras.backend import sinusoidal_embeddings
from su_models.layers import MultiHeadAttention as OurAttention
from su_models.layers import RelativePositionBias
from tests.contract import normal, to_numpy

X = ops.convert_to_tensor(normal(2, 7, 8))
PAIRS = np.tril(np.ones((1, 7, 7), bool))


def test_rotation_equals_that_of_ours_for_positions_and_sinusoids():
    theirs = MultiHeadAttention(2, 4, use_bias=False)
    positions = ops.arange(7)
    angles = sinusoidal_embeddings(positions, 4)[None]
    y, z = (theirs([X, X, X, p], p_bias="rotary") for p in (positions, angles))
    ours = OurAttention(2, 4, use_bias=False, rotary_base=10000.0)
    ours.build(X.shape)
    ours.set_weights(theirs.get_weights())
    for other in (z, ours(X)):
        np.testing.assert_allclose(to_numpy(y), to_numpy(other), atol=1e-5)


def test_biases_have_the_forms_of_both_libraries():
    layer = MultiHeadAttention(2, 4, attention_scale=False)
    bias = RelativePositionBias(2)(X)  # (1, h, n, m)
    theirs = ops.transpose(bias[0], (1, 2, 0))  # (n, m, h)
    y, z = (layer([X, X, X, b], p_bias="t5_relative") for b in (bias, theirs))
    np.testing.assert_allclose(to_numpy(y), to_numpy(z), atol=1e-6)
    y, z = (
        layer([X, X, X, pairs], a_bias=True)
        for pairs in (PAIRS, PAIRS[:, None])
    )
    np.testing.assert_array_equal(to_numpy(y), to_numpy(z))


@pytest.mark.parametrize("scores", [False, True])
def test_attention_in_a_saved_model(tmp_path, scores):
    inputs, pairs = keras.Input((None, 8)), keras.Input((None, None))
    flags = pairs > 0
    layer = MultiHeadAttention(
        2, 4, out_dim=5, key_size=6, return_attention_scores=scores
    )
    outputs = layer([inputs, inputs, inputs, flags], a_bias=True)
    outputs = outputs[0] if scores else outputs
    model = keras.Model([inputs, pairs], outputs)
    pairs = np.repeat(PAIRS, 2, 0).astype("float32")
    given = [X, ops.convert_to_tensor(pairs)]
    expected = layer([X, X, X, PAIRS], a_bias=True)
    expected = to_numpy(expected[0] if scores else expected)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(given)), expected, atol=1e-6)


def test_padding_of_keys_is_masked_by_the_mask_of_the_values():
    mask = np.arange(7) < np.array([[7], [4]])
    layer = MultiHeadAttention(2, 4)
    noisy = ops.where(mask[..., None], X, X + 5.0)
    y = layer([X, X, X], mask=mask)
    z = layer([X, noisy, noisy], value_mask=mask)
    np.testing.assert_allclose(to_numpy(y), to_numpy(z), atol=1e-5)


def test_wrong_lists_are_rejected():
    layer = MultiHeadAttention(2, 4)
    with pytest.raises(ValueError, match="Received: 1 more tensors"):
        layer([X, X, X, PAIRS])
    with pytest.raises(ValueError, match="Received: p_bias='rope'"):
        layer([X, X, X], p_bias="rope")


def test_gated_unit_rotates_and_masks(tmp_path):
    unit = GatedAttentionUnit(5, 4)
    inputs = keras.Input((None, 8))
    positions = keras.Input((None,), dtype="int32")
    outputs = unit([inputs, positions], p_bias="rotary")
    model = keras.Model([inputs, positions], outputs)
    positions = np.tile(np.arange(7, dtype="int32"), (2, 1))
    given = [X, ops.convert_to_tensor(positions)]
    y = to_numpy(model(given))
    moved = to_numpy(model([X, given[1] + 5]))
    np.testing.assert_allclose(y, moved, atol=1e-5)  # relative only
    assert np.abs(y - to_numpy(unit(X))).max() > 1e-6
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(given)), y, atol=1e-6)


def test_gated_unit_rejects_other_forms():
    with pytest.raises(ValueError, match="Received: self_attention=False"):
        GatedAttentionUnit(5, 4, self_attention=False)
    with pytest.raises(ValueError, match="booleans"):
        GatedAttentionUnit(5, 4)([X, normal(2, 7, 7)], a_bias=True)
