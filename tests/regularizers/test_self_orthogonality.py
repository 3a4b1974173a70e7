"""Article: https://kexue.fm/archives/7169"""

import keras
import numpy as np
import pytest

from su_models.backend import gradient
from su_models.regularizers import SelfOrthogonality
from tests.contract import normal, to_numpy

Y = normal(9, 4)


def by_hand(y, gamma=10.0, l1=100.0, l2=1.0):
    """Eq. (7) and (8), one pair of filters at a time."""
    y = np.tanh(gamma * y.astype("float64").reshape(-1, y.shape[-1]))
    y = y / np.sqrt((y**2).sum(axis=0))
    total = squares = 0.0
    for i in range(y.shape[1]):
        for j in range(y.shape[1]):
            if i != j:
                total += y[:, i] @ y[:, j]
                squares += (y[:, i] @ y[:, j]) ** 2
    return l1 * total**2 + l2 * squares


@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 2, 4), (9, 1)])
@pytest.mark.parametrize("arguments", [{}, {"gamma": 1, "l1": 0, "l2": 3}])
def test_matches_eq_7(shape, arguments):
    y = normal(*shape)
    ours = to_numpy(SelfOrthogonality(**arguments)(y)) / len(y)
    np.testing.assert_allclose(ours, by_hand(y, **arguments), rtol=1e-4)


def test_the_average_is_over_pairs():
    ours = to_numpy(SelfOrthogonality(average=True)(Y)) / len(Y)
    expected = by_hand(Y, l1=100 / 12**2, l2=1 / 12)  # 4 filters
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_the_loss_of_a_layer_is_eq_7_whatever_the_batch_size():
    dense = keras.layers.Dense(
        4, use_bias=False, activity_regularizer=SelfOrthogonality()
    )
    for n in (9, 90):  # the same samples, ten times
        x = np.tile(normal(9, 6), (n // 9, 1))
        y = to_numpy(dense(x))
        np.testing.assert_allclose(
            to_numpy(dense.losses[0]), by_hand(y), rtol=1e-4
        )


def test_the_loss_of_a_jitted_fit_is_the_same():
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(
        4, use_bias=False, activity_regularizer=SelfOrthogonality(l1=1.0)
    )(inputs)
    net = keras.Model(inputs, outputs)
    jit = keras.config.backend() != "torch"
    net.compile(keras.optimizers.SGD(0.0), jit_compile=jit)
    x = normal(9, 6)
    fit = net.fit(x, batch_size=9, verbose=0)
    np.testing.assert_allclose(
        fit.history["loss"][0], by_hand(to_numpy(net(x)), l1=1), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("degrees", "mean"), [(30, 2 / 3), (60, 1 / 3), (90, 0), (120, -1 / 3)]
)
def test_sharp_signs_recover_the_lemma(degrees, mean):
    """Eq. (6): E[sgn sgn] = 1 - 2θ/π, for inputs of random direction."""
    angle = np.deg2rad(degrees)
    w = np.array([[1, np.cos(angle)], [0, np.sin(angle)]])
    x = np.random.default_rng(0).normal(size=(40_000, 2))
    y = (x @ w).astype("float32")
    squares = SelfOrthogonality(gamma=1e6, l1=0.0, l2=0.5)(y)
    np.testing.assert_allclose(
        np.sqrt(to_numpy(squares) / len(y)), abs(mean), atol=0.01
    )
    total = SelfOrthogonality(gamma=1e6, l1=0.25, l2=0.0)(y)
    np.testing.assert_allclose(
        np.sqrt(to_numpy(total) / len(y)), abs(mean), atol=0.01
    )


def test_equal_filters_cost_most_orthogonal_ones_next_to_nothing():
    x = np.random.default_rng(0).normal(size=(2000, 6))
    q = np.linalg.qr(normal(6, 4))[0]

    def cost(w):
        y = (x @ w).astype("float32")
        return to_numpy(SelfOrthogonality(l1=0.0)(y)) / len(y)

    assert cost(q) < 12 * 5 / 2000  # k² / b
    np.testing.assert_allclose(cost(np.tile(q[:, :1], 4)), 12, rtol=1e-4)
    assert cost(q) < cost(q + 0.3 * normal(6, 4)) < 12


def test_one_filter_costs_nothing():
    assert to_numpy(SelfOrthogonality()(Y[:, :1])) == 0


def test_the_length_of_a_filter_is_free_where_signs_are_sharp():
    a = to_numpy(SelfOrthogonality(gamma=1e6)(Y))
    b = to_numpy(SelfOrthogonality(gamma=1e6)(Y * [1, 5, 0.2, 30]))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_dead_filter_and_half_precision_are_finite():
    y = np.concatenate([Y, np.zeros((9, 1))], axis=-1).astype("float32")
    g = to_numpy(gradient(SelfOrthogonality(), y))
    assert np.isfinite(g).all()
    low = SelfOrthogonality()(np.repeat(Y, 30, axis=-1).astype("float16"))
    assert np.isfinite(to_numpy(low)) and to_numpy(low) > 65504


@pytest.mark.parametrize("name", ["gamma", "l1", "l2"])
def test_bad_numbers_are_refused(name):
    for value in (-1, np.nan, "1", None):
        with pytest.raises(ValueError, match=f"Received: {name}="):
            SelfOrthogonality(**{name: value})


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="Received: gamma=0"):
        SelfOrthogonality(gamma=0)
    with pytest.raises(ValueError, match=r"Received: shape=\(9,\)"):
        SelfOrthogonality()(Y[:, 0])


@pytest.mark.parametrize("flag", ["False", None, 1])
def test_what_is_no_flag_is_refused(flag):
    with pytest.raises(ValueError, match=f"Received: average={flag!r}"):
        SelfOrthogonality(average=flag)


@pytest.mark.parametrize("name", ["gamma", "l1", "l2"])
def test_a_flag_is_no_number(name):
    with pytest.raises(ValueError, match=f"Received: {name}=True"):
        SelfOrthogonality(**{name: True})


def test_numpy_numbers_are_numbers():
    config = SelfOrthogonality(
        np.float32(2), np.int64(1), np.float64(0.5), np.True_
    ).get_config()
    kinds = [type(config[k]) for k in ("gamma", "l1", "l2", "average")]
    assert kinds == [float, float, float, bool]


def test_nan_is_seen():
    y = Y.copy()
    y[2, 1] = np.nan
    assert np.isnan(to_numpy(SelfOrthogonality()(y)))
