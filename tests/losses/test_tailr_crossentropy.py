"""Article: https://kexue.fm/archives/9526"""

import keras
import numpy as np
import pytest
from scipy import special

from su_models.backend import compiled, gradient
from su_models.losses import SmoothAccuracy, TaiLrCrossentropy
from tests.contract import integers, normal, to_numpy

Y, X = integers(4, 5), 2 * normal(5, 4)
GAMMAS = [0.0, 1e-7, 0.1, 0.5, 0.8, 1 - 1e-6, 1.0]


def each(loss, y, x):
    loss.reduction = None
    return to_numpy(loss(y, x))


def slope(loss, y, x):
    return to_numpy(gradient(lambda x: loss(y, x), x))


def eq_2(p, gamma):
    if gamma == 1:
        return 1 - p
    return -np.log(gamma + (1 - gamma) * p) / (1 - gamma)


def probabilities(x=X):
    p = special.softmax(x.astype("float64"), axis=-1)
    return np.array([row[label] for row, label in zip(p, Y, strict=True)])


@pytest.mark.parametrize("gamma", GAMMAS)
def test_matches_eq_2(gamma):
    expected = eq_2(probabilities(), gamma)
    loss = TaiLrCrossentropy(gamma)
    np.testing.assert_allclose(each(loss, Y, X), expected, rtol=2e-5)
    p = special.softmax(X, axis=-1)
    given = TaiLrCrossentropy(gamma, from_logits=False)
    np.testing.assert_allclose(each(given, Y, p), expected, rtol=2e-5)


@pytest.mark.parametrize("gamma", GAMMAS[:-2])
@pytest.mark.parametrize("bound", [0.0, 0.3])
def test_matches_eq_8_and_smoothing_of_the_reference(gamma, bound):
    log_p = special.log_softmax(X.astype("float64"), axis=-1)
    expected = []
    for row, label in zip(log_p, Y, strict=True):
        p = np.exp(row[label])
        w = max(bound, p / (gamma + (1 - gamma) * p))
        uniform = -sum(row) / 4
        expected.append(0.8 * -w * row[label] + 0.2 * uniform)
    loss = TaiLrCrossentropy(gamma, bound, label_smoothing=0.2)
    np.testing.assert_allclose(each(loss, Y, X), expected, rtol=2e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_both_forms_have_the_gradient_of_eq_6(gamma):
    closed = slope(TaiLrCrossentropy(gamma), Y, X)
    stopped = slope(TaiLrCrossentropy(gamma, min_weight=0.0), Y, X)
    np.testing.assert_allclose(closed, stopped, atol=1e-6)
    p = special.softmax(X, axis=-1)
    py = probabilities()[:, None]
    dp = py * (np.eye(4)[Y] - p)  # ∇p of the target
    expected = -dp / (gamma + (1 - gamma) * py) / len(Y)
    np.testing.assert_allclose(closed, expected, atol=1e-6)


def test_gamma_0_is_cross_entropy():
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    far = np.array([[-1e4, 0, 1, 2]] * 5, "float32")
    for x in (X, far):
        for loss in (TaiLrCrossentropy(0), TaiLrCrossentropy(0.7, 1)):
            np.testing.assert_allclose(
                to_numpy(loss(Y, x)), to_numpy(theirs(Y, x)), rtol=1e-5
            )
            np.testing.assert_allclose(
                slope(loss, Y, x), slope(theirs, Y, x), atol=1e-6
            )
    smooth = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1
    )
    ours = TaiLrCrossentropy(0.0, label_smoothing=0.1)
    np.testing.assert_allclose(
        to_numpy(ours(Y, X)), to_numpy(smooth(np.eye(4)[Y], X)), rtol=1e-5
    )


def test_gamma_1_is_the_smooth_error_rate():
    for x in (X, 1e4 * X):
        np.testing.assert_allclose(
            each(TaiLrCrossentropy(1.0), Y, x),
            each(SmoothAccuracy(), Y, x),
            rtol=1e-6,
            atol=1e-9,
        )


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("bound", [None, 0.2])
def test_extreme_logits_are_exact(gamma, bound):
    x = np.array([[1e4, -1e4], [-1e4, 1e4]], "float32")
    loss = TaiLrCrossentropy(gamma, bound)
    value = each(loss, [0, 0], x)
    assert value[0] == 0
    if bound is None:
        expected = 2e4 if gamma == 0 else eq_2(0.0, gamma)
    else:
        expected = max(bound, float(gamma == 0)) * 2e4
    np.testing.assert_allclose(value[1], expected, rtol=1e-5, atol=1e-20)
    assert np.isfinite(slope(TaiLrCrossentropy(gamma, bound), [0, 0], x)).all()


def test_falls_with_p_and_is_bounded():
    x = np.stack([np.linspace(-60, 60, 41), np.zeros(41)], -1)
    y = np.zeros(41, "int32")
    for gamma in GAMMAS:
        loss = each(TaiLrCrossentropy(gamma), y, x.astype("float32"))
        assert (np.diff(loss) <= 0).all() and loss[0] > loss[20] > loss[-1] >= 0
        if 0 < gamma < 1:
            assert loss[0] <= -np.log(gamma) / (1 - gamma) * (1 + 1e-5)


@pytest.mark.parametrize("jit", [True, False])
def test_annealing_reaches_a_compiled_fit(jit):
    inputs = keras.Input((4,))
    net = keras.Model(inputs, keras.layers.Dense(4)(inputs))
    loss = TaiLrCrossentropy(0.5)
    jit = jit and keras.config.backend() != "torch"
    net.compile(keras.optimizers.SGD(0.0), loss, jit_compile=jit)
    fit = net.fit(
        X,
        Y,
        epochs=3,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[loss.anneal(lambda epoch: [0.0, 0.0, 0.9][epoch])],
    )
    p = probabilities(to_numpy(net(X)))
    expected = [eq_2(p, gamma).mean() for gamma in (0.0, 0.0, 0.9)]
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(fit.history[key], expected, rtol=1e-5)
    assert loss.gamma == 0.9
    assert TaiLrCrossentropy.from_config(loss.get_config()).gamma == 0.9


def test_an_assigned_gamma_is_seen():
    loss = TaiLrCrossentropy(0.0)
    loss.gamma = 0.4
    np.testing.assert_allclose(
        each(loss, Y, X), eq_2(probabilities(), 0.4), rtol=1e-5
    )


def test_compiled_equals_eager():
    loss = TaiLrCrossentropy(0.3, 0.1)
    fast = compiled(lambda x: loss(Y, x))
    x = keras.ops.convert_to_tensor(X)
    np.testing.assert_allclose(to_numpy(fast(x)), to_numpy(loss(Y, X)), 1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, "0.5", True])
@pytest.mark.parametrize("name", ["gamma", "min_weight", "label_smoothing"])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .* Received: {name}="):
        TaiLrCrossentropy(**{"gamma": 0.5, name: value})
    with pytest.raises(ValueError, match="Received: gamma=None"):
        TaiLrCrossentropy(None)
    loss = TaiLrCrossentropy(0.5)
    with pytest.raises(ValueError, match="Received: gamma=2"):
        loss.gamma = 2
    assert loss.gamma == 0.5


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"Received: y_true=\(5, 4\)"):
        TaiLrCrossentropy(0.5)(np.zeros((5, 4)), X)
