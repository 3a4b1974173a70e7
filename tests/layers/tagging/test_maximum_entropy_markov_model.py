"""Article: https://kexue.fm/archives/7213"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import gradient, variable_gradient
from su_models.backend.compile import compiled
from su_models.layers import MaximumEntropyMarkovModel
from tests.contract import JIT, integers, normal, to_numpy
from tests.marks import needs_float64


def new_layer(labels=3, **kwargs):
    layer = MaximumEntropyMarkovModel(**kwargs)
    layer.build((None, None, labels))
    for i, w in enumerate(layer.weights):
        w.assign(np.random.default_rng(i).normal(size=w.shape))
    return layer, to_numpy(layer.trans).astype("float64")


def masked(layer, x, mask):
    return layer(x, mask=ops.convert_to_tensor(mask))


def step_logits(f, g, labels):
    """The halved exponents of Eq. (6) and (8), `(2, n, k)`, step by step."""
    n, k = f.shape
    logits = np.empty((2, n, k))
    for t in range(n):
        for y in range(k):
            left = f[t, y] if t == 0 else g[labels[t - 1], y]
            right = f[t, y] if t == n - 1 else g[y, labels[t + 1]]
            logits[0, t, y] = (f[t, y] + left) / 2
            logits[1, t, y] = (f[t, y] + right) / 2
    return logits


def cross_entropies(f, g, labels):
    """The mean of both directions, for each step."""
    losses = np.zeros(len(f))
    for logits in step_logits(f, g, labels):
        for t, z in enumerate(logits):
            losses[t] += (np.log(np.exp(z).sum()) - z[labels[t]]) / 2
    return losses


@pytest.mark.parametrize("hidden_dim", [None, 2])
@pytest.mark.parametrize("multiplier", [1.0, 7.0])
@pytest.mark.parametrize(
    "mask",
    [
        [[1] * 5, [1] * 5],
        [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]],
        [[1, 0, 1, 0, 1], [0, 1, 1, 0, 1]],
    ],
)
def test_loss_is_the_mean_of_both_directions(mask, multiplier, hidden_dim):
    layer, g = new_layer(
        hidden_dim=hidden_dim, learning_rate_multiplier=multiplier
    )
    x, labels, mask = normal(2, 5, 3), integers(3, 2, 5), np.array(mask) > 0
    y = masked(layer, x, mask)
    sums = [
        cross_entropies(f[m].astype("float64"), g, c[m]).sum()
        for f, c, m in zip(x, labels, mask, strict=True)
    ]
    for loss in (
        to_numpy(layer.sparse_loss(labels, y)),
        to_numpy(layer.dense_loss(np.eye(3)[labels], y)),
    ):
        np.testing.assert_allclose(loss.mean(), sum(sums) / mask.sum(), 1e-5)
        np.testing.assert_allclose(loss / loss.sum(), sums / sum(sums), 1e-4)


@pytest.mark.parametrize("hidden_dim", [None, 2])
def test_accuracy_is_the_mean_of_both_directions(hidden_dim):
    layer, g = new_layer(hidden_dim=hidden_dim)
    x, labels = normal(8, 9, 3), integers(3, 8, 9)
    mask = integers(4, 8, 9) > 0
    y = masked(layer, x, mask)
    hits = np.zeros(2)
    for f, c, m in zip(x, labels, mask, strict=True):
        for way, logits in enumerate(step_logits(f[m], g, c[m])):
            hits[way] += (logits.argmax(axis=-1) == c[m]).sum()
    assert 0 < hits.min() and hits.max() < mask.sum()
    for accuracy in (
        layer.sparse_accuracy(labels, y),
        layer.dense_accuracy(np.eye(3)[labels], y),
    ):
        expected = hits.mean() / mask.sum()
        np.testing.assert_allclose(to_numpy(accuracy), expected, rtol=1e-6)


@pytest.mark.parametrize("hidden_dim", [None, 2])
def test_gradients_are_differences(hidden_dim):
    layer, g = new_layer(hidden_dim=hidden_dim)
    x, labels = normal(2, 4, 3), integers(3, 2, 4)

    def reference():
        values = [
            cross_entropies(f.astype("float64"), g, c)
            for f, c in zip(x, labels, strict=True)
        ]
        return np.mean(values)

    def loss(x):
        return ops.mean(layer.sparse_loss(labels, layer(x)))

    def differences(array, change):
        slope = np.empty(array.shape)
        for place in np.ndindex(*array.shape):
            ends = []
            for step in (1e-3, -1e-3):
                before = array[place]
                array[place] += step
                ends.append(change())
                array[place] = before
            slope[place] = (ends[0] - ends[1]) / 2e-3
        return slope

    got = compiled(lambda x: gradient(loss, x))(x.copy())
    expected = differences(x, reference)
    np.testing.assert_allclose(to_numpy(got), expected, atol=1e-4)
    got = variable_gradient(lambda: loss(x), layer.weights)
    through = differences(g, reference)  # of the whole matrix g = L Rᵀ
    if hidden_dim is None:
        expected = [through]
    else:
        left, right = (to_numpy(w) for w in layer.weights)
        expected = [through @ right, through.T @ left]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(to_numpy(a), b, atol=1e-4)


def test_a_low_rank_has_few_weights():
    layer, g = new_layer(labels=50, hidden_dim=2)
    assert [tuple(w.shape) for w in layer.weights] == [(50, 2), (50, 2)]
    assert g.shape == (50, 50) and np.linalg.matrix_rank(g, 1e-4) == 2


def test_a_sequence_without_steps_has_no_loss():
    layer, _ = new_layer()
    x, labels = normal(2, 4, 3), integers(3, 2, 4)
    mask = np.array([[1] * 4, [0] * 4], bool)
    loss = to_numpy(layer.sparse_loss(labels, masked(layer, x, mask)))
    assert loss[1] == 0 and loss[0] > 0
    loss = layer.sparse_loss(labels, masked(layer, x, np.zeros_like(mask)))
    assert (to_numpy(loss) == 0).all()


def test_a_label_that_cannot_be_has_the_score_minus_infinity():
    layer, g = new_layer()
    x, labels = normal(1, 4, 3), np.array([[0, 2, 1, 0]])
    x[0, 1, 0] = x[0, 3, 1] = -np.inf
    expected = cross_entropies(x[0].astype("float64"), g, labels[0]).mean()

    def loss(x):
        return ops.sum(layer.sparse_loss(labels, layer(x)))

    np.testing.assert_allclose(to_numpy(loss(x)), expected, rtol=1e-5)
    assert np.isfinite(to_numpy(gradient(loss, x))).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_softmax_is_taken_in_float32(dtype):
    layer, _ = new_layer()
    x, labels = normal(2, 9, 3), integers(3, 2, 9)
    low = ops.cast(x, dtype)
    expected = to_numpy(layer.sparse_loss(labels, ops.cast(low, "float32")))
    got = to_numpy(layer.sparse_loss(labels, low))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@needs_float64
@pytest.mark.parametrize("hidden_dim", [None, 2])
def test_float64_stays_float64(hidden_dim):
    layer = MaximumEntropyMarkovModel(hidden_dim=hidden_dim, dtype="float64")
    x, labels = normal(2, 4, 3).astype("float64"), integers(3, 2, 4)
    y = layer(x)
    g = ops.convert_to_numpy(layer.trans)
    expected = [
        cross_entropies(*case).mean()
        for case in zip(x, [g, g], labels, strict=True)
    ]
    loss = ops.convert_to_numpy(layer.sparse_loss(labels, y))
    assert g.dtype == loss.dtype == "float64"
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
def test_a_label_that_does_not_exist_makes_the_loss_nan_when_compiled():
    layer, _ = new_layer()
    labels = np.array([[0, 1, 2, 0], [0, 3, 0, 0]], "int32")
    loss = compiled(lambda c, x: layer.sparse_loss(c, x))
    loss = to_numpy(loss(labels, normal(2, 4, 3)))
    assert np.isnan(loss).tolist() == [False, True]


@pytest.mark.skipif(keras.config.backend() != "jax", reason="it works there")
def test_the_accuracy_says_why_it_is_no_metric_on_jax():
    layer = MaximumEntropyMarkovModel()
    net = keras.Sequential([keras.Input((None, 3)), layer])
    net.compile("sgd", layer.sparse_loss, metrics=[layer.sparse_accuracy])
    x, labels = normal(2, 4, 3), integers(3, 2, 4)
    with pytest.raises(NotImplementedError, match="On JAX, .*Received: layer="):
        net.fit(x, labels, verbose=0)


def test_bad_arguments_are_refused():
    for bad in (0, 2.5, "2", True):
        with pytest.raises(ValueError, match="Received: hidden_dim="):
            MaximumEntropyMarkovModel(hidden_dim=bad)
