"""Article: https://kexue.fm/archives/8888"""

import keras
import numpy as np
import pytest

from su_models.backend import compiled, gradient
from su_models.losses import (
    MultilabelCrossentropy,
    SparseMultilabelCrossentropy,
)
from tests.contract import normal, to_numpy

LISTS = np.array([[5, 0, -1], [2, -1, -1], [3, 4, 1], [-1, -1, -1]])
S = 2 * normal(4, 6)


def multi_hot(lists, labels):
    dense = np.zeros((len(lists), labels), "float32")
    for row, chosen in zip(dense, lists, strict=True):
        for label in chosen:
            if label >= 0:
                row[label] = 1
    return dense


def each(loss, t, s):
    loss.reduction = None
    return to_numpy(loss(t, s))


def test_value_and_gradient_are_those_of_the_dense_loss():
    dense = multi_hot(LISTS, 6)
    np.testing.assert_allclose(
        each(SparseMultilabelCrossentropy(), LISTS, S),
        each(MultilabelCrossentropy(), dense, S),
        rtol=1e-6,
    )
    ours, theirs = (
        to_numpy(gradient(lambda s, loss=loss, t=t: loss(t, s), S))
        for loss, t in (
            (SparseMultilabelCrossentropy(), LISTS),
            (MultilabelCrossentropy(), dense),
        )
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_matches_eq_3_from_p_and_all():
    for chosen, s, ours in zip(
        LISTS, S, each(SparseMultilabelCrossentropy(), LISTS, S), strict=True
    ):
        p = s[[i for i in chosen if i >= 0]].astype("float64")
        negative = 1 + np.exp(s).sum() - np.exp(p).sum()
        expected = np.log(1 + np.exp(-p).sum()) + np.log(negative)
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_negatives_are_seen_beside_much_larger_positives():
    # 1 - exp(b - a) of Eq. (5) is 0 here, and its gradient is lost
    s = np.array([[40.0, 3.0, -5.0]], "float32")
    t = np.array([[0, -1]])
    expected = np.log(1 + np.exp(3.0) + np.exp(-5.0))
    ours = each(SparseMultilabelCrossentropy(), t, s)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    g = to_numpy(gradient(lambda s: SparseMultilabelCrossentropy()(t, s), s))
    assert g[0, 1] > 0.9


def test_zero_is_padding_if_asked():
    lists = np.array([[3, 1, 0], [2, 0, 0], [1, 2, 3], [0, 0, 0]])
    ours = each(SparseMultilabelCrossentropy(mask_zero=True), lists, S)
    dense = multi_hot(np.where(lists > 0, lists, -1), 6)
    expected = each(MultilabelCrossentropy(), dense[:, 1:], S[:, 1:])
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_a_label_listed_twice_counts_once():
    twice = np.array([[2, 2, 5]])
    once = np.array([[5, 2, -1]])
    a, b = (
        each(SparseMultilabelCrossentropy(), t, S[:1]) for t in (twice, once)
    )
    np.testing.assert_array_equal(a, b)


def test_more_axes():
    t, s = LISTS.reshape(2, 2, 3), S.reshape(2, 2, 6)
    ours = each(SparseMultilabelCrossentropy(), t, s)
    flat = each(SparseMultilabelCrossentropy(), LISTS, S)
    np.testing.assert_allclose(ours, flat.reshape(2, 2), rtol=1e-6)


def test_extreme_scores_are_exact_also_compiled():
    right = np.where(multi_hot(LISTS, 6), 1e4, -1e4).astype("float32")
    loss = compiled(lambda s: SparseMultilabelCrossentropy()(LISTS, s))
    assert to_numpy(loss(keras.ops.convert_to_tensor(right))) == 0
    wrong = to_numpy(loss(keras.ops.convert_to_tensor(-right)))
    np.testing.assert_allclose(wrong, 1e4 * 7 / 4, rtol=1e-3)


def test_unknown_batch_and_lists_without_xla():
    inputs = keras.Input((6,))
    net = keras.Model(inputs, keras.layers.Dense(6)(inputs))
    net.compile("sgd", SparseMultilabelCrossentropy(), jit_compile=False)
    before = net.evaluate(S, LISTS, batch_size=3, verbose=0)
    net.fit(S, LISTS, batch_size=3, epochs=20, verbose=0)
    assert net.evaluate(S, LISTS, batch_size=3, verbose=0) < before


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"Received: y_true=\(4,\), y_pred="):
        SparseMultilabelCrossentropy()(LISTS[:, 0], S)
