"""Article: https://kexue.fm/archives/7359

Article: https://kexue.fm/archives/9064
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.losses import MultilabelCrossentropy
from tests.contract import integers, normal, to_numpy

T, S = integers(2, 3, 6), 2 * normal(3, 6)


def each(t, s):
    return to_numpy(MultilabelCrossentropy(reduction=None)(t, s))


def slope(t, s):
    return to_numpy(gradient(lambda s: MultilabelCrossentropy()(t, s), s))


def test_matches_eq_11():
    expected = []
    for t, s in zip(T, S, strict=True):
        negative = sum(np.exp(s[i]) for i in range(6) if not t[i])
        positive = sum(np.exp(-s[j]) for j in range(6) if t[j])
        expected.append(np.log(1 + negative) + np.log(1 + positive))
    np.testing.assert_allclose(each(T, S), expected, rtol=1e-5)


def test_soft_labels_match_eq_5_of_9064():
    t = np.random.default_rng(1).uniform(size=(3, 6))
    negative = np.log(1 + ((1 - t) * np.exp(S)).sum(axis=-1))
    positive = np.log(1 + (t * np.exp(-S)).sum(axis=-1))
    np.testing.assert_allclose(each(t, S), negative + positive, rtol=1e-5)


def test_one_label_and_its_threshold_is_softmax():
    """Eq. (7): with the right score as the threshold 0."""
    s = S - S[:, :1]
    t = np.eye(1, 6).repeat(3, axis=0)
    softmax = keras.losses.CategoricalCrossentropy(
        from_logits=True, reduction=None
    )
    ours = each(t, s) - np.log(2)  # log(1 + e^-0) of the right one
    np.testing.assert_allclose(ours, to_numpy(softmax(t, S)), rtol=1e-4)


def test_soft_labels_are_recovered_as_the_article_proves():
    t = np.random.default_rng(1).uniform(0.05, 0.95, size=(2, 6))
    s = np.log(t / (1 - t)) / 2  # t = σ(2s)
    np.testing.assert_allclose(slope(t, s.astype("float32")), 0, atol=1e-6)
    assert abs(slope(t, 2 * s.astype("float32"))).max() > 1e-3


def test_more_negatives_do_not_weigh_more_than_their_largest():
    # a thousand sure negatives add little: no imbalance of classes
    s = np.concatenate([[2.0], np.full(1000, -20.0)])[None]
    t = np.eye(1, 1001)
    np.testing.assert_allclose(each(t, s), np.log(1 + np.exp(-2)), atol=1e-5)


def test_extreme_scores_are_exact():
    right = np.where(T, 1e4, -1e4).astype("float32")
    np.testing.assert_array_equal(each(T, right), 0)
    wrong = 1e4 * (T.any(axis=-1) + (1 - T).any(axis=-1).astype("float32"))
    np.testing.assert_allclose(each(T, -right), wrong, rtol=1e-3)
    for s in (right, -right, 0 * right):
        assert np.isfinite(slope(T, s)).all()


@pytest.mark.parametrize("score", [-1e9, -np.inf])
def test_a_masked_label_is_harmless(score):
    s, t = S.copy(), T.copy()
    s[:, 2], t[:, 2] = score, 0
    keep = np.arange(6) != 2
    np.testing.assert_allclose(each(t, s), each(t[:, keep], s[:, keep]), 1e-6)
    gradients = slope(t, s)
    assert np.isfinite(gradients).all() and (gradients[:, 2] == 0).all()


def test_a_keras_mask_leaves_positions_out():
    ids = np.array([[3, 4, 0], [1, 0, 0]])
    inputs = keras.Input((3,), dtype="int32")
    embed = keras.layers.Embedding(5, 4, mask_zero=True)
    net = keras.Model(inputs, embed(inputs))
    x, t = net(ids), integers(2, 2, 3, 4)
    kept = each(t, ops.copy(x))[ids > 0].mean()
    masked = to_numpy(MultilabelCrossentropy()(t, x))
    np.testing.assert_allclose(masked, kept, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 6), ()])
def test_shapes_must_fit(shape):
    with pytest.raises(ValueError, match="Received: y_true="):
        MultilabelCrossentropy()(np.zeros(shape), S)
