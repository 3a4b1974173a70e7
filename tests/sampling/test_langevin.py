"""Article: https://kexue.fm/archives/9660"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import TimestepEmbedding
from su_models.sampling import Langevin
from tests.contract import normal, to_numpy

MEAN, VARIANCE = 2.0, 0.25  # at time 0


def particles(n):
    x = np.random.default_rng(1).normal(size=(n, 1))
    x = (x - x.mean()) / x.std()
    return (MEAN + VARIANCE**0.5 * x).astype("float32")


def to_standard_normal(x, t):
    return -x


def test_one_step_is_eq_23():
    x, eta = np.zeros((40_000, 2), "float32"), 0.3
    sampler = Langevin(eta, num_steps=1)
    y = to_numpy(sampler(lambda x, t: x + 5.0, x, seed=0))
    np.testing.assert_allclose(y.mean(axis=0), 5.0 * eta, atol=0.02)
    np.testing.assert_allclose(y.var(axis=0), 2 * eta, rtol=0.03)
    drift = Langevin(eta, num_steps=1, temperature=0.0)
    y = to_numpy(drift(lambda x, t: x + 5.0, x + 1.0))
    np.testing.assert_allclose(y, 1 + 6 * eta, rtol=1e-6)


def test_moments_follow_the_fokker_planck_equation():
    # Eq. (22) to N(0, 1): mean m e^-t, variance 1 + (v - 1) e^-2t
    n, eta = 20_000, 0.01
    sampler = Langevin(eta, num_steps=25)
    x = particles(n)
    for k in range(1, 5):
        x = to_numpy(sampler(to_standard_normal, x, seed=k))
        t = 25 * k * eta
        mean = MEAN * np.exp(-t)
        variance = 1 + (VARIANCE - 1) * np.exp(-2 * t)
        # of order η from the steps, and the deviation of n samples
        np.testing.assert_allclose(x.mean(), mean, atol=1.5 * eta + 5 / n**0.5)
        np.testing.assert_allclose(
            x.var(), variance, atol=eta + 5 * (2 / n) ** 0.5
        )


def test_moments_follow_the_steps_exactly():
    # m ← (1 - η) m, v ← (1 - η)² v + 2η
    n, eta, steps = 50_000, 0.1, 12
    x = to_numpy(Langevin(eta, steps)(to_standard_normal, particles(n), seed=3))
    m, v = MEAN, VARIANCE
    for _ in range(steps):
        m, v = (1 - eta) * m, (1 - eta) ** 2 * v + 2 * eta
    np.testing.assert_allclose(x.mean(), m, atol=5 * (v / n) ** 0.5)
    np.testing.assert_allclose(x.var(), v, rtol=5 * (2 / n) ** 0.5)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_stationary_variance_is_too_large_by_the_step(tau):
    eta, n = 0.4, 40_000
    sampler = Langevin(eta, num_steps=40, temperature=tau)
    x = to_numpy(sampler(to_standard_normal, normal(n, 1), seed=0))
    expected = tau / (1 - eta / 2)
    np.testing.assert_allclose(x.var(), expected, rtol=5 * (2 / n) ** 0.5)


def test_samples_two_modes_with_their_weights():
    def score(x, t):  # of Σ share_k N(centre_k, 0.5²)
        centres = ops.convert_to_tensor([-2.0, 2.0])
        logs = ops.log(ops.array([0.3, 0.7])) - 2 * (x - centres) ** 2
        weights = ops.softmax(logs, axis=-1)
        return ops.sum(weights * -4 * (x - centres), axis=-1, keepdims=True)

    # from a share of particles in each mode that is the right one already
    x = np.where(np.arange(10_000) < 3000, -2.0, 2.0)[:, None]
    x = to_numpy(Langevin(0.02, 200)(score, x.astype("float32"), seed=0))
    assert abs((x < 0).mean() - 0.3) < 0.03
    for centre, part in ((-2.0, x[x < 0]), (2.0, x[x > 0])):
        assert abs(part.mean() - centre) < 0.03
        assert abs(part.std() - 0.5) < 0.03


def test_each_step_has_its_size_and_temperature_in_the_order_taken():
    steps = [0.1, 0.2, 0.4]
    sampler = Langevin(steps, num_steps=3, temperature=[0.0, 0.0, 0.0])
    x = ops.convert_to_numpy(sampler(lambda x, t: -x / x, normal(3, 2)))
    np.testing.assert_allclose(x, normal(3, 2) - 0.7, rtol=1e-5)
    seen = ops.convert_to_numpy(
        sampler(
            lambda x, t: x * 0 + 10.0 ** ops.cast(t[:, None], "float32"),
            np.zeros((2, 1), "float32"),
        )
    )
    np.testing.assert_allclose(seen, 0.1 * 1000 + 0.2 * 100 + 0.4 * 10)
    # noise in the first step alone, which the last step forgets
    cooled = Langevin([0.5, 1.0], num_steps=2, temperature=[3.0, 0.0])
    y = to_numpy(cooled(to_standard_normal, normal(5, 2), seed=0))
    np.testing.assert_allclose(y, 0.0, atol=1e-6)


def test_model_of_the_particles_alone():
    inputs = keras.Input((3,))
    scale = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")
    model = keras.Model(inputs, -scale(inputs))
    sampler, x = Langevin(0.1, num_steps=5), normal(4, 3)
    expected = to_numpy(sampler(to_standard_normal, x, seed=1))
    np.testing.assert_allclose(
        to_numpy(sampler(model, x, seed=1)), expected, rtol=1e-5
    )
    # a change of its weights is seen
    scale.kernel.assign(np.zeros((3, 3), "float32"))
    moved = to_numpy(sampler(model, x, seed=1))
    assert np.abs(moved - expected).max() > 0.1
    drawn = sampler.sample(model, 3, seed=1, batch_size=2)
    assert drawn.shape == (3, 3)


def test_table_of_another_number_of_steps_is_refused():
    x, t = keras.Input((3,)), keras.Input((), dtype="int32")
    shift = keras.layers.Dense(3)(TimestepEmbedding(num_steps=9, dim=4)(t))
    model = keras.Model([x, t], keras.layers.Add()([x, shift]))
    with pytest.raises(
        ValueError, match="num_steps=5. Received: .*num_steps=9"
    ):
        Langevin(0.1, num_steps=5)(model, normal(2, 3))
    assert Langevin(0.1, num_steps=9)(model, normal(2, 3)).shape == (2, 3)


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ({"step_size": 0.0}, "`step_size` must be positive"),
        ({"step_size": float("nan")}, "`step_size` must be finite"),
        ({"step_size": [0.1, 0.2], "num_steps": 3}, "num_steps=3 of them"),
        ({"step_size": [0.1, -0.2], "num_steps": 2}, "must be positive"),
        ({"step_size": [0.1, float("inf")], "num_steps": 2}, "must be finite"),
        ({"step_size": "large"}, "Received: step_size='large'"),
        ({"step_size": ["0.1", "0.2"], "num_steps": 2}, "finite numbers"),
        ({"step_size": [True, True], "num_steps": 2}, "finite numbers"),
        ({"step_size": [[0.1], [0.1, 0.2]], "num_steps": 2}, "finite num"),
        ({"step_size": True}, "Received: step_size=True"),
        ({"step_size": None}, "Received: step_size=None"),
        ({"step_size": 0.1, "num_steps": 0}, "Received: num_steps=0"),
        ({"step_size": 0.1, "num_steps": 2.5}, "Received: num_steps=2.5"),
        ({"step_size": 0.1, "temperature": -1.0}, "must not be negative"),
    ],
)
def test_bad_arguments_are_refused(init, match):
    with pytest.raises(ValueError, match=match):
        Langevin(**init)


def test_score_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\). Received: shape=\(4,\)"):
        Langevin(0.1, num_steps=2)(lambda x, t: x[:, 0], normal(4, 3))
