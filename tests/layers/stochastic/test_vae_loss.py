"""Article: https://kexue.fm/archives/5253"""

import keras
import numpy as np
import pytest

from su_models.layers import VAELoss


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def numbers(*shapes):
    random = np.random.default_rng(0)
    return [random.normal(size=s).astype("float32") for s in shapes]


def negative_log_normal(x, center, stddev):
    return ((x - center) / stddev) ** 2 / 2 + np.log(
        stddev * np.sqrt(2 * np.pi)
    )


@pytest.mark.parametrize("code", [(6,), (2, 3, 2)])
@pytest.mark.parametrize("stddev", [1.0, 0.3])
def test_matches_a_loop(code, stddev):
    shapes = [(4, 3, 5, 2)] * 2 + [(4, *code)] * 2
    x, made, mean, log_variance = numbers(*shapes)
    expected = np.zeros(4)
    for i in range(4):
        for a, b in zip(x[i].ravel(), made[i].ravel(), strict=True):
            # -log q(x|z), without its constant
            expected[i] += negative_log_normal(a, b, stddev)
            expected[i] -= negative_log_normal(0, 0, stddev)
        for m, v in zip(mean[i].ravel(), log_variance[i].ravel(), strict=True):
            expected[i] += 0.5 * (m**2 + np.exp(v) - v - 1)  # Eq. (5)
    layer = VAELoss(stddev)
    loss = to_numpy(layer(x, made, mean, log_variance))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(layer.losses[0]), expected.mean(), 1e-5)


def test_a_perfect_copy_with_the_prior_s_code_costs_nothing():
    (x,) = numbers((4, 3, 5, 2))
    code = np.zeros((4, 6), "float32")
    assert not to_numpy(VAELoss()(x, x, code, code)).any()


def test_twice_the_image_costs_twice_as_much():  # sums, not means
    x, made, mean, log_variance = numbers((4, 6), (4, 6), (4, 3), (4, 3))
    once = to_numpy(VAELoss()(x, made, mean, log_variance))
    pairs = [np.concatenate([a, a], 1) for a in (x, made, mean, log_variance)]
    np.testing.assert_allclose(to_numpy(VAELoss()(*pairs)), 2 * once, rtol=1e-6)


@pytest.mark.parametrize("stddev", [0, -1.0, float("inf"), "1"])
def test_bad_deviations_are_refused(stddev):
    with pytest.raises(ValueError, match=f"Received: stddev={stddev!r}"):
        VAELoss(stddev)


@pytest.mark.parametrize("wrong, name", [(1, "reconstruction"), (3, "log_var")])
def test_shapes_that_differ_are_refused(wrong, name):
    arrays = numbers((4, 6), (4, 6), (4, 3), (4, 3))
    arrays[wrong] = arrays[wrong][:, :1]
    with pytest.raises(ValueError, match=f"Received: {name}.*of shape"):
        VAELoss()(*arrays)
