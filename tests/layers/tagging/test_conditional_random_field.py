"""Article: https://kexue.fm/archives/5542

Article: https://kexue.fm/archives/7196
"""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import gradient, variable_gradient
from su_models.backend.compile import compiled
from su_models.layers import ConditionalRandomField
from su_models.text import ViterbiDecoder
from tests.contract import JIT, integers, normal, to_numpy

LENGTHS = ([4, 4], [4, 2], [1, 3])


def path_score(h, g, labels):
    """The exponent of Eq. (5)."""
    score = h[0, labels[0]]
    for t in range(len(labels) - 1):
        score += g[labels[t], labels[t + 1]] + h[t + 1, labels[t + 1]]
    return score


def negative_log_likelihood(h, g, labels):
    """Eq. (5), Z by a sum over all kⁿ paths."""
    n, k = h.shape
    paths = itertools.product(range(k), repeat=n)
    z = sum(np.exp(path_score(h, g, path)) for path in paths)
    return np.log(z) - path_score(h, g, labels)


def new_layer(labels=3, **kwargs):
    layer = ConditionalRandomField(**kwargs)
    layer.build((None, None, labels))
    layer.transitions.assign(normal(labels, labels)[::-1].copy())
    return layer, to_numpy(layer.trans).astype("float64")


def assert_close(got, expected):
    """Float32: a loss is the difference of two larger numbers."""
    atol = 1e-6 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5, atol=atol)


def masked(layer, x, mask):
    return layer(x, mask=ops.convert_to_tensor(mask))


@pytest.mark.parametrize("multiplier", [1.0, 7.0])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_loss_is_that_of_all_paths(lengths, multiplier):
    layer, g = new_layer(learning_rate_multiplier=multiplier)
    x, labels = 2 * normal(2, 4, 3), integers(3, 2, 4)
    y = masked(layer, x, np.arange(4) < np.array(lengths)[:, None])
    expected = [
        negative_log_likelihood(h[:n].astype("float64"), g, c[:n])
        for h, c, n in zip(x, labels, lengths, strict=True)
    ]
    for loss in (
        layer.sparse_loss(labels, y),
        layer.dense_loss(np.eye(3)[labels], y),
    ):
        assert_close(loss, expected)


@pytest.mark.parametrize(
    "mask",
    [
        [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]],
        [[1, 0, 1, 0, 1], [0, 1, 0, 0, 1]],
        [[0, 1, 1, 1, 0], [0, 0, 0, 1, 0]],
    ],
)
def test_masked_steps_are_skipped_wherever_they_are(mask):
    layer, g = new_layer()
    x, labels, mask = normal(2, 5, 3), integers(3, 2, 5), np.array(mask) > 0
    expected = [
        negative_log_likelihood(h[m].astype("float64"), g, c[m])
        for h, c, m in zip(x, labels, mask, strict=True)
    ]
    assert_close(layer.sparse_loss(labels, masked(layer, x, mask)), expected)


def test_a_sequence_without_steps_has_no_loss_and_moves_nothing():
    layer, _ = new_layer()
    x, mask = normal(2, 4, 3), np.array([[1] * 4, [0] * 4], bool)
    labels = integers(3, 2, 4)

    def loss(x):
        return layer.sparse_loss(labels, masked(layer, x, mask))

    assert to_numpy(loss(x))[1] == 0
    slope = to_numpy(gradient(lambda x: ops.sum(loss(x)), x))
    assert np.isfinite(slope).all() and (slope[1] == 0).all()
    assert (slope[0] != 0).all()


def test_probabilities_of_all_paths_add_up_to_one():
    layer, _ = new_layer()
    paths = np.array([*itertools.product(range(3), repeat=4)])
    x = np.repeat(3 * normal(1, 4, 3), len(paths), axis=0)
    p = np.exp(-to_numpy(layer.sparse_loss(paths, layer(x))))
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    # and the decoder finds the most likely one
    decoder = ViterbiDecoder(ops.convert_to_numpy(layer.trans))
    np.testing.assert_array_equal(decoder.decode(x[0]), paths[p.argmax()])


def test_gradients_are_those_of_all_paths():
    """The slope of log Z is the share of the paths through a label."""
    layer, g = new_layer()
    x, labels = normal(1, 4, 3), integers(3, 1, 4)
    h = x[0].astype("float64")
    for_x, for_g = np.zeros((4, 3)), np.zeros((3, 3))
    paths = [*itertools.product(range(3), repeat=4)]
    weights = np.exp([path_score(h, g, path) for path in paths])
    counted = [*zip(paths, weights / weights.sum(), strict=True)]
    for path, share in [*counted, (labels[0], -1.0)]:
        for t in range(4):
            for_x[t, path[t]] += share
            if t:
                for_g[path[t - 1], path[t]] += share

    def loss(x):
        return ops.sum(layer.sparse_loss(labels, layer(x)))

    got = compiled(lambda x: gradient(loss, x))(x)
    np.testing.assert_allclose(to_numpy(got)[0], for_x, atol=1e-5)
    (got,) = variable_gradient(lambda: loss(x), [layer.transitions])
    np.testing.assert_allclose(to_numpy(got), for_g, atol=1e-5)


def test_a_label_that_cannot_be_has_the_score_minus_infinity():
    layer, g = new_layer()
    x, labels = normal(1, 4, 3), np.array([[0, 2, 1, 0]])
    x[0, 1, 0] = x[0, 3, 1] = -np.inf
    expected = negative_log_likelihood(x[0].astype("float64"), g, labels[0])

    def loss(x):
        return ops.sum(layer.sparse_loss(labels, layer(x)))

    np.testing.assert_allclose(to_numpy(loss(x)), expected, rtol=1e-5)
    assert np.isfinite(to_numpy(gradient(loss, x))).all()


def test_large_scores_do_not_overflow():
    layer, _ = new_layer()
    x, labels = 1e4 * normal(2, 4, 3), integers(3, 2, 4)
    slope = gradient(lambda x: ops.sum(layer.sparse_loss(labels, x)), x)
    assert np.isfinite(to_numpy(layer.sparse_loss(labels, x))).all()
    assert np.isfinite(to_numpy(slope)).all()


def test_accuracies_are_those_of_the_scores_alone():
    layer, _ = new_layer()
    x, labels = normal(2, 4, 3), integers(3, 2, 4)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    y = masked(layer, x, mask)
    expected = (x.argmax(axis=-1) == labels)[mask].mean()
    assert 0 < expected < 1
    for accuracy in (
        layer.sparse_accuracy(labels, y),
        layer.dense_accuracy(np.eye(3)[labels], y),
    ):
        np.testing.assert_allclose(to_numpy(accuracy), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_recursion_runs_in_float32(dtype):
    layer, _ = new_layer()
    x, labels = normal(2, 60, 3), integers(3, 2, 60)
    low = ops.cast(x, dtype)
    expected = to_numpy(layer.sparse_loss(labels, ops.cast(low, "float32")))
    got = to_numpy(layer.sparse_loss(labels, low))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
def test_a_label_that_does_not_exist_makes_the_loss_nan_when_compiled():
    layer, _ = new_layer()
    labels = np.array([[0, 1, 2, 0], [0, 3, 0, 0]], "int32")
    loss = compiled(lambda c, x: layer.sparse_loss(c, x))(
        labels, normal(2, 4, 3)
    )
    assert np.isnan(to_numpy(loss)).tolist() == [False, True]


def test_any_length_is_trained_by_one_model():
    layer = ConditionalRandomField()
    inputs = keras.Input((None, 5))
    net = keras.Model(inputs, layer(keras.layers.Dense(3)(inputs)))
    net.compile("adam", layer.sparse_loss, jit_compile=JIT)
    for n in (4, 7, 1):
        loss = net.train_on_batch(normal(2, n, 5), integers(3, 2, n))
        assert np.isfinite(loss)
