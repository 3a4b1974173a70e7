"""Article: https://kexue.fm/archives/6620"""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special
from sklearn.metrics import f1_score

from su_models.losses import SmoothF1
from tests.contract import integers, normal, to_numpy

T, X = integers(2, 7, 3), normal(7, 3)


def one_class(t, p):
    """Eq. (14), sample by sample."""
    both = total = 0.0
    for a, b in zip(t, p, strict=True):
        both += a * b
        total += a + b
    return 2 * both / total


def test_matches_eq_14():
    p = special.expit(X)
    classes = [one_class(t, q) for t, q in zip(T.T, p.T, strict=True)]
    loss = to_numpy(SmoothF1()(T, X))
    np.testing.assert_allclose(loss, 1 - np.mean(classes), rtol=1e-5)
    micro = to_numpy(SmoothF1("micro", from_logits=False)(T, p))
    np.testing.assert_allclose(
        micro, 1 - one_class(T.ravel(), p.ravel()), rtol=1e-5
    )


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_decisions_have_the_f1_of_scikit_learn(average):
    expected = 1 - f1_score(T, X > 0, average=average)
    assert 0.1 < expected < 0.9
    given = SmoothF1(average, from_logits=False)(T, X > 0)
    np.testing.assert_allclose(to_numpy(given), expected, rtol=1e-6)
    sure = SmoothF1(average)(T, 1e4 * X)
    np.testing.assert_allclose(to_numpy(sure), expected, rtol=1e-6)


def test_of_one_class_is_the_dice_loss_of_keras():
    p = special.expit(X[:, :1])
    t = T[:, :1].astype("float32")
    dice = keras.losses.Dice()(t, p.astype("float32"))
    np.testing.assert_allclose(
        to_numpy(SmoothF1()(t, X[:, :1])), to_numpy(dice), rtol=1e-5
    )


def test_weights_count_inside_the_sums():
    weights = np.array([1, 0, 1, 1, 0, 1, 1])
    weighted = to_numpy(SmoothF1()(T, X, sample_weight=weights))
    some = to_numpy(SmoothF1()(T[weights > 0], X[weights > 0]))
    np.testing.assert_allclose(weighted, some, rtol=1e-6)
    assert abs(some - to_numpy(SmoothF1()(T, X))) > 1e-3


def test_a_keras_mask_leaves_positions_out():
    ids = np.array([[3, 4, 0], [1, 0, 0]])
    inputs = keras.Input((3,), dtype="int32")
    embed = keras.layers.Embedding(5, 4, mask_zero=True)
    net = keras.Model(inputs, embed(inputs))
    x, t = net(ids), integers(2, 2, 3, 4)
    kept = to_numpy(SmoothF1()(t[ids > 0], to_numpy(x)[ids > 0]))
    np.testing.assert_allclose(to_numpy(SmoothF1()(t, x)), kept, rtol=1e-6)
    assert to_numpy(SmoothF1()(t, ops.copy(x))) != kept


def test_a_class_that_does_not_occur_has_no_score():
    t, p = np.zeros((3, 1)), np.zeros((3, 1))
    assert to_numpy(SmoothF1(from_logits=False)(t, p)) == 1


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="Received: average='weighted'"):
        SmoothF1("weighted")
    with pytest.raises(ValueError, match=r"Received: y_true=\(7,\), y_pred="):
        SmoothF1()(T[:, 0], X)
    with pytest.raises(ValueError, match="Received: sample_weight="):
        SmoothF1()(T, X, sample_weight=np.ones((7, 3, 1)))
