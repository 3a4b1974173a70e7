"""Article: https://kexue.fm/archives/7867"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import variable_gradient
from su_models.layers import Embedding
from tests.contract import JIT, integers, normal, to_numpy
from tests.marks import needs_float64


def with_table(layer):
    """Returns a layer with known weights, and its table."""
    layer.build()
    layer.set_weights([normal(9, 4)])
    return layer, normal(9, 4)


def test_rows_are_looked_up():
    (layer, table), ids = with_table(Embedding(9, 4)), integers(9, 2, 7)
    expected = np.empty((2, 7, 4))
    for place in np.ndindex(2, 7):
        expected[place] = table[ids[place]]
    for dtype in ("int32", "int64", "uint8", "float32"):
        y = layer(ids.astype(dtype))
        np.testing.assert_array_equal(to_numpy(y), expected.astype("float32"))


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4), (2, 3, 7, 4)])
def test_reverse_is_the_product_with_the_transposed_table(shape):
    layer, table = with_table(Embedding(9, 4))
    x = normal(*shape)[::-1].copy()
    expected = np.empty((*shape[:-1], 9))
    for place in np.ndindex(*shape[:-1]):
        for i in range(9):
            expected[(*place, i)] = sum(x[place] * table[i])
    logits = layer(x, reverse=True)
    np.testing.assert_allclose(to_numpy(logits), expected, atol=1e-5)


def test_reverse_can_have_a_kernel_of_its_own_and_a_cap():
    layer = Embedding(9, 4, tie_weights=False, logit_soft_cap=0.1)
    x = normal(2, 7, 4)
    layer(x, reverse=True)
    assert [tuple(w.shape) for w in layer.weights] == [(9, 4), (4, 9)]
    kernel = to_numpy(layer.reverse_embeddings)
    np.testing.assert_allclose(
        to_numpy(layer(x, reverse=True)),
        0.1 * np.tanh(x @ kernel / 0.1),
        atol=1e-6,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("wide", [None, "float32"])
def test_logits_have_the_compute_dtype_or_the_one_asked_for(policy, wide):
    layer = Embedding(9, 4, dtype=policy, reverse_dtype=wide)
    logits = layer(normal(2, 7, 4), reverse=True)
    free = layer(keras.Input((None, 4)), reverse=True)
    assert free.shape == (None, None, 9)
    for y in logits, free:
        dtype = keras.backend.standardize_dtype(y.dtype)
        assert dtype == wide or policy.endswith(dtype)


@needs_float64
def test_float64_stays_float64():
    layer, x = Embedding(9, 4, dtype="float64"), normal(2, 4).astype("float64")
    logits = ops.convert_to_numpy(layer(x, reverse=True))
    table = ops.convert_to_numpy(layer.embeddings)
    np.testing.assert_allclose(logits, x @ table.T, rtol=1e-12)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_summed_in_float32(policy):
    layer = Embedding(3, 4096, embeddings_initializer="ones", dtype=policy)
    x = np.concatenate([np.ones((1, 2048)), -np.ones((1, 2048))], axis=1)
    x[:, -1] = 0.0
    logits = to_numpy(layer(x.astype("float32"), reverse=True))
    np.testing.assert_array_equal(logits, np.ones((1, 3)))


# ---- masks


class Seen(keras.layers.Layer):
    """Returns the mask that reaches it: ones if there is none."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return ops.ones_like(inputs[..., 0])
        return ops.cast(mask, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([[3, 4, 0, 5, 0]], [[1, 1, 0, 1, 0]]),
        ([[0, 4, 0, 5, 0]], [[1, 1, 0, 1, 0]]),  # T5 starts with 0
        ([[0, 0, 0, 0, 0]], [[1, 0, 0, 0, 0]]),
        ([[0], [3]], [[1], [1]]),
        ([[[3, 0], [0, 4]]], [[[1, 0], [1, 1]]]),
    ],
)
def test_the_first_token_is_never_masked(ids, mask):
    ids = np.array(ids, "int32")
    layer = Embedding(9, 4, mask_zero=True)
    np.testing.assert_array_equal(to_numpy(Seen()(layer(ids))), mask)
    np.testing.assert_array_equal(to_numpy(layer.compute_mask(ids)), mask)


def test_there_is_no_mask_unless_asked_for_nor_for_ids_of_one_axis():
    ids = np.array([[3, 0], [0, 4]], "int32")
    assert Embedding(9, 4).compute_mask(ids) is None
    assert (to_numpy(Seen()(Embedding(9, 4)(ids))) == 1).all()
    assert Embedding(9, 4, mask_zero=True).compute_mask(ids[:, 0]) is None


@pytest.mark.parametrize("length", [None, 4])
def test_the_mask_passes_through_the_reverse_call(length):
    ids = keras.Input((length,), dtype="int32")
    layer = Embedding(9, 4, mask_zero=True)
    x = layer(ids)
    net = keras.Model(ids, [Seen()(x), Seen()(layer(x, reverse=True))])
    given = np.array([[0, 3, 0, 0], [5, 6, 7, 0]], "int32")
    for mask in (*net(given), *net.predict(given, verbose=0)):
        np.testing.assert_array_equal(
            to_numpy(mask), [[1, 1, 0, 0], [1, 1, 1, 0]]
        )


def test_floats_are_ids_or_features_by_the_call_and_not_by_their_shape():
    layer = Embedding(9, 4, mask_zero=True)
    ids = np.array([[0.0, 3.0, 0.0, 0.0]], "float32")
    for _ in range(2):
        mask = Seen()(layer(ids))
        np.testing.assert_array_equal(to_numpy(mask), [[1, 1, 0, 0]])
        # these zeros are features
        mask = Seen()(layer(ids, reverse=True))
        np.testing.assert_array_equal(to_numpy(mask), [1])


def test_the_mask_of_a_failed_reverse_call_is_forgotten():
    layer = Embedding(9, 4, mask_zero=True)
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        layer(normal(2, 5), reverse=True)
    ids = np.array([[3, 0]], "int32")
    np.testing.assert_array_equal(to_numpy(layer.compute_mask(ids)), [[1, 0]])


def test_a_padded_sequence_is_pooled_as_the_bare_one():
    layer = Embedding(9, 4, mask_zero=True)
    net = keras.Sequential([layer, keras.layers.GlobalAveragePooling1D()])
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([0, 4, 0], [0, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-6)


# ---- gradients


def test_the_gradient_of_a_row_is_the_sum_over_its_occurrences():
    layer, _ = with_table(Embedding(9, 4))
    ids, weight = np.array([[3, 1, 3], [3, 0, 1]], "int32"), normal(2, 3, 4)
    expected = np.zeros((9, 4))
    for place in np.ndindex(2, 3):
        expected[ids[place]] += weight[place]
    (got,) = variable_gradient(
        lambda: ops.sum(ops.multiply(layer(ids), weight)), [layer.embeddings]
    )
    assert tuple(got.shape) == (9, 4)
    np.testing.assert_allclose(to_numpy(got), expected, atol=1e-6)


def _sum(y_true, y_pred):
    return ops.sum(y_pred, axis=(1, 2))


def test_adam_moves_a_row_as_far_however_often_it_is_looked_up():
    net = keras.Sequential([keras.Input((4,)), Embedding(9, 4)])
    net.compile(keras.optimizers.Adam(0.1), _sum, jit_compile=JIT)
    before = to_numpy(net.layers[0].embeddings).copy()
    net.fit(np.array([[1, 1, 1, 2]]), np.zeros((1, 4, 4)), verbose=0)
    moved = to_numpy(net.layers[0].embeddings) - before
    expected = np.zeros((9, 4))
    expected[1:3] = -0.1
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_a_tied_model_trains_compiled_from_both_ends():
    ids = keras.Input((None,), dtype="int32")
    layer = Embedding(9, 4, mask_zero=True)
    x = keras.layers.Dense(4)(layer(ids))
    net = keras.Model(ids, layer(x, reverse=True))
    net.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=JIT,
    )
    x, y = integers(9, 8, 5), integers(9, 8, 5)
    losses = net.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# ---- saving, LoRA, quantization


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_tied_model_is_saved_and_loaded(suffix, tmp_path):
    ids = keras.Input((None,), dtype="int32")
    layer = Embedding(9, 4, mask_zero=True)
    net = keras.Model(ids, layer(layer(ids), reverse=True))
    net.save(tmp_path / f"net.{suffix}")
    again = keras.saving.load_model(tmp_path / f"net.{suffix}")
    x = integers(9, 2, 5)
    np.testing.assert_allclose(to_numpy(net(x)), to_numpy(again(x)))
    assert len(again.weights) == 1


def test_a_model_that_reads_the_mask_is_saved_and_loaded(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    x = Embedding(9, 4, mask_zero=True)(ids)
    net = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(x))
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    x = np.array([[0, 4, 0, 0], [3, 4, 5, 0]])
    np.testing.assert_allclose(to_numpy(net(x)), to_numpy(again(x)))


def test_lora_is_that_of_keras():
    layer, table = with_table(Embedding(9, 4))
    layer.enable_lora(2)
    layer.lora_embeddings_b.assign(normal(2, 4))
    assert [tuple(w.shape) for w in layer.trainable_weights] == [(9, 2), (2, 4)]
    table = table + to_numpy(layer.lora_embeddings_a) @ normal(2, 4)
    ids, x = integers(9, 2, 5), normal(2, 5, 4)
    for got, expected in (
        (layer(ids), table[ids]),
        (layer(x, reverse=True), x @ table.T),
    ):
        np.testing.assert_allclose(to_numpy(got), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["int8", "int4"])
# Keras transposes a vector of scales
@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors")
def test_quantization_is_that_of_keras(mode):
    layer, table = with_table(Embedding(9, 4))
    layer.quantize(mode)
    ids, x = integers(9, 2, 5), normal(2, 5, 4)
    atol = {"int8": 0.1, "int4": 1.0}[mode]
    for got, expected in (
        (layer(ids), table[ids]),
        (layer(x, reverse=True), x @ table.T),
    ):
        np.testing.assert_allclose(to_numpy(got), expected, atol=atol)


# ---- refusals


def test_ids_that_do_not_exist_are_refused():
    for bad in (-1, 9):
        with pytest.raises(ValueError, match=f"Received: inputs with {bad}"):
            Embedding(9, 4)(np.array([[0, bad]]))


def test_bad_arguments_are_refused():
    for bad in (0, 2.5, "9", True, None):
        with pytest.raises(ValueError, match="Received: input_dim="):
            Embedding(bad, 4)
        with pytest.raises(ValueError, match="Received: output_dim="):
            Embedding(9, bad)
    with pytest.raises(ValueError, match="Received: mask_zero=1"):
        Embedding(9, 4, mask_zero=1)
    with pytest.raises(ValueError, match="Received: reverse='yes'"):
        Embedding(9, 4)(normal(2, 4), reverse="yes")
    for shape in ((2, 5), (2, 7, 3)):
        with pytest.raises(ValueError, match="Received: inputs of shape"):
            Embedding(9, 4)(normal(*shape), reverse=True)


def test_numpy_integers_are_sizes():
    config = Embedding(np.int64(9), np.int32(4)).get_config()
    assert type(config["input_dim"]) is type(config["output_dim"]) is int


@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_a_kernel_computed_once_are_those_in_reverse(tied):
    layer, x = Embedding(9, 4, tie_weights=tied), normal(2, 7, 4)
    expected = layer(x, reverse=True)
    kernel = layer.step_weights()
    assert tuple(kernel.shape) == (4, 9)
    np.testing.assert_array_equal(
        to_numpy(layer.logits(x, kernel)), to_numpy(expected)
    )
