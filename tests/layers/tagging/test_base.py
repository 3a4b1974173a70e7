"""Article: https://kexue.fm/archives/5542"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import ConditionalRandomField, MaximumEntropyMarkovModel
from su_models.layers.tagging.base import (
    TaggerMethod,
    fold,
    neighbours,
    share_of_hits,
)
from tests.contract import JIT, integers, normal, to_numpy

# on JAX no metric of `fit` can read weights, as one accuracy does
ON_JAX = keras.config.backend() == "jax"
READS = {MaximumEntropyMarkovModel} if ON_JAX else set()
TAGGERS = [ConditionalRandomField, MaximumEntropyMarkovModel]


def test_neighbours_skip_masked_steps():
    random = np.random.default_rng(0)
    real = random.integers(2, size=(20, 7)).astype(bool)
    real[:4] = [[1] * 7, [0] * 7, [1] * 4 + [0] * 3, [0] * 3 + [1] * 4]
    (before, has_before), (after, has_after) = (
        [to_numpy(x).astype(int) for x in pair]
        for pair in neighbours(ops.convert_to_tensor(real))
    )
    for b, t in np.ndindex(*real.shape):
        left = [s for s in range(t) if real[b, s] and real[b, t]]
        right = [s for s in range(t + 1, 7) if real[b, s] and real[b, t]]
        assert has_before[b, t] == bool(left)
        assert has_after[b, t] == bool(right)
        if left:
            assert before[b, t] == left[-1]
        if right:
            assert after[b, t] == right[0]
    assert before.min() >= 0 and after.max() < 7


def test_fold_goes_through_the_steps_in_order():
    x, m = normal(5, 2, 3), normal(5, 2, 1)
    expected = np.zeros((2, 3))
    for t in range(5):
        expected = 2 * expected + x[t] * m[t]
    inputs = ops.convert_to_tensor(x), ops.convert_to_tensor(m)
    got = fold(lambda s, i: 2 * s + i[0] * i[1], inputs, ops.zeros((2, 3)))
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5)


def test_share_of_hits_counts_real_steps_alone():
    scores = np.array([[[0, 1], [1, 0], [1, 0]]], "float32")
    labels = np.array([[1, 1, 1]], "int32")
    for real, share in (([1, 1, 1], 1 / 3), ([1, 1, 0], 0.5), ([0, 0, 0], 0)):
        real = ops.convert_to_tensor(np.array([real], bool))
        got = share_of_hits(ops.convert_to_tensor(labels), scores, real)
        np.testing.assert_allclose(to_numpy(got), share, rtol=1e-6)


# ---- what is the same for all taggers


@pytest.mark.parametrize("cls", TAGGERS)
def test_masked_steps_are_minus_infinity_and_the_mask_is_dropped(cls):
    x, mask = normal(2, 4, 3), np.array([[1, 1, 1, 1], [1, 0, 1, 0]], bool)
    y = cls()(x, mask=ops.convert_to_tensor(mask))
    expected = np.where(mask[..., None], x, -np.inf)
    np.testing.assert_array_equal(to_numpy(y), expected)
    assert cls().compute_mask(x, mask) is None
    np.testing.assert_array_equal(to_numpy(cls()(x)), x)


@pytest.mark.parametrize("cls", TAGGERS)
def test_the_multiplier_changes_the_pace_and_not_the_start(cls):
    x, labels = normal(8, 5, 3), integers(3, 8, 5)
    starts, moves = [], []
    for multiplier in (1.0, 50.0):
        keras.utils.set_random_seed(3)
        layer = cls(learning_rate_multiplier=multiplier)
        net = keras.Sequential([keras.Input((None, 3)), layer])
        start = to_numpy(layer.trans)
        net.compile(keras.optimizers.Adam(1e-4), layer.sparse_loss)
        net.fit(x, labels, verbose=0)
        starts.append(start)
        moves.append(to_numpy(layer.trans) - start)
    np.testing.assert_allclose(*starts, rtol=1e-4)
    assert np.abs(starts[0]).max() > 0.1
    np.testing.assert_allclose(np.abs(moves[0]), 1e-4, rtol=0.05)
    np.testing.assert_allclose(np.abs(moves[1]), 5e-3, rtol=0.05)


@pytest.mark.parametrize(
    ("cls", "dense"), [*zip(TAGGERS, (False, True), strict=True)]
)
def test_a_padded_batch_is_learned_compiled(cls, dense):
    """Two labels that alternate: the scores alone cannot tell them."""
    lengths = np.array([6, 4, 5, 3])
    mask = np.arange(6) < lengths[:, None]
    labels = np.tile(np.arange(6) % 2, (4, 1)) * mask
    ids = np.where(mask, 3, 0)
    ids[:, 0] = 4
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(inputs)
    layer = cls(learning_rate_multiplier=3.0)
    net = keras.Model(inputs, layer(keras.layers.Dense(2)(x)))
    loss = layer.dense_loss if dense else layer.sparse_loss
    accuracy = layer.dense_accuracy if dense else layer.sparse_accuracy
    metrics = [] if cls in READS else [accuracy]
    net.compile(
        keras.optimizers.Adam(0.1), loss, metrics=metrics, jit_compile=JIT
    )
    y = np.eye(2)[labels] if dense else labels
    history = net.fit(ids, y, epochs=40, verbose=0).history
    assert {*history} == {"loss", *(m.__name__ for m in metrics)}
    assert 0 <= accuracy(y, net.predict(ids, verbose=0)) <= 1
    assert history["loss"][-1] < 0.3 * history["loss"][0]


@pytest.mark.parametrize("cls", TAGGERS)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_compiled_model_is_saved_and_trained_further(cls, suffix, tmp_path):
    x, labels = normal(8, 5, 3), integers(4, 8, 5)
    layer = cls(name="tagger")
    inputs = keras.Input((None, 3))
    net = keras.Model(inputs, layer(keras.layers.Dense(4)(inputs)))
    metrics = [] if cls in READS else [layer.sparse_accuracy]
    net.compile("adam", layer.sparse_loss, metrics=metrics)
    net.fit(x, labels, verbose=0)
    net.save(tmp_path / f"net.{suffix}")
    again = keras.saving.load_model(tmp_path / f"net.{suffix}")
    inner = again.get_layer("tagger")
    np.testing.assert_allclose(to_numpy(inner.trans), to_numpy(layer.trans))
    np.testing.assert_allclose(
        again.evaluate(x, labels, verbose=0),
        net.evaluate(x, labels, verbose=0),
        rtol=1e-5,
    )
    if suffix == "h5":  # whose optimizers Keras loads without the variables
        return
    before, ours = to_numpy(inner.trans).copy(), to_numpy(layer.trans).copy()
    again.fit(x, labels, verbose=0)
    assert (to_numpy(inner.trans) != before).any(), "the loss has other weights"
    np.testing.assert_array_equal(to_numpy(layer.trans), ours)


def test_a_loss_takes_the_layer_that_was_made_last():
    old, new = (ConditionalRandomField(name="tagger") for _ in range(2))
    config = old.sparse_loss.get_config()
    assert config == {"layer": "tagger", "method": "sparse_loss"}
    assert TaggerMethod.from_config(config).layer is new
    del new
    config["layer"] = "nobody"
    with pytest.raises(ValueError, match="Received: config=.*nobody"):
        TaggerMethod.from_config(config)


@pytest.mark.parametrize("cls", TAGGERS)
def test_labels_that_do_not_exist_are_refused(cls):
    layer = cls()
    y = layer(normal(2, 4, 3))
    for bad in (-1, 3):
        labels = np.array([[0, 1, 2, 0], [0, bad, 0, 0]])
        for method in (layer.sparse_loss, layer.sparse_accuracy):
            with pytest.raises(
                ValueError, match=f"Received: y_true with {bad}"
            ):
                method(labels, y)


@pytest.mark.parametrize("cls", TAGGERS)
def test_labels_of_masked_steps_do_not_matter(cls):
    layer, mask = cls(), np.array([[1, 1, 0, 1], [1, 1, 0, 0]], bool)
    y = layer(normal(2, 4, 3), mask=ops.convert_to_tensor(mask))
    labels = np.array([[0, 1, 0, 2], [2, 1, 0, 0]])
    for other in (2, -1, -100, 7):
        changed = np.where(mask, labels, other)
        for method in (layer.sparse_loss, layer.sparse_accuracy):
            np.testing.assert_array_equal(
                to_numpy(method(labels, y)), to_numpy(method(changed, y))
            )
        for method in (layer.dense_loss, layer.dense_accuracy):
            a, b = (
                np.where(mask[..., None], np.eye(3)[labels], fill)
                for fill in (0.0, other)
            )
            np.testing.assert_array_equal(
                to_numpy(method(a, y)), to_numpy(method(b, y))
            )


@pytest.mark.parametrize("cls", TAGGERS)
def test_the_targets_may_have_an_axis_of_size_one(cls):
    layer = cls()
    y, labels = layer(normal(2, 4, 3)), integers(3, 2, 4)
    expected = to_numpy(layer.sparse_loss(labels, y))
    for given in (labels[..., None], labels.astype("float32")):
        np.testing.assert_array_equal(
            to_numpy(layer.sparse_loss(given, y)), expected
        )


@pytest.mark.parametrize("cls", TAGGERS)
def test_nan_is_seen(cls):
    layer, labels = cls(), integers(3, 2, 4)
    x = normal(2, 4, 3)
    layer(x)
    x[1, 2] = np.nan
    loss = to_numpy(layer.sparse_loss(labels, x))
    assert np.isnan(loss[1])
    one_hot = np.eye(3, dtype="float32")[labels]
    one_hot[1, 2] = np.nan
    loss = to_numpy(layer.dense_loss(one_hot, normal(2, 4, 3)))
    assert np.isnan(loss[1]) and np.isfinite(loss[0])


@pytest.mark.parametrize("cls", TAGGERS)
def test_bad_arguments_are_refused(cls):
    for bad in (0, -1.0, "1", None, float("nan"), True):
        with pytest.raises(ValueError, match="Received: learning_rate_mult"):
            cls(learning_rate_multiplier=bad)
    for shape in ((2, 3), (2, 4, 3, 1)):
        with pytest.raises(ValueError, match="Received: input_shape="):
            cls()(normal(*shape))
    with pytest.raises(ValueError, match="Received: input_shape="):
        cls()(keras.Input((4, None)))
    for mask in (np.ones((2, 3), bool), np.ones((2, 4), "float32")):
        with pytest.raises(ValueError, match="Received: mask of"):
            cls()(normal(2, 4, 3), mask=ops.convert_to_tensor(mask))
    layer = cls()
    y = layer(normal(2, 4, 3))
    for shape in ((2, 3), (1, 4), (2, 4, 2), (8,)):
        with pytest.raises(ValueError, match="Received: y_true of shape"):
            layer.sparse_loss(np.zeros(shape, "int32"), y)
    for shape in ((2, 4), (2, 4, 2), (1, 4, 3)):
        with pytest.raises(ValueError, match="Received: y_true of shape"):
            layer.dense_loss(np.zeros(shape), y)
    for shape in ((2, 4), (2, 4, 2), (2, 0, 3)):
        with pytest.raises(ValueError, match="Received: y_pred of shape"):
            layer.sparse_loss(np.zeros((2, 4)), np.zeros(shape, "float32"))
