"""Article: https://kexue.fm/archives/9660, https://kexue.fm/archives/10289"""

import numpy as np
import pytest
from keras import ops

from su_models.sampling import WassersteinFlow
from tests.contract import normal, to_numpy

DATA = (1.5 + 0.5 * normal(50, 1)).astype("float32")


def kl_of_normals(x):
    """KL(q‖N(0, 1)) of a normal q with the particles' mean and variance."""
    return 0.5 * ops.mean(x**2) - 0.5 * ops.log(ops.var(x))


def test_kl_to_a_normal_has_its_closed_form():
    # Eq. (22) without noise: mean m e^-t, variance 1 + (v - 1) e^-2t
    errors = []
    for steps in (20, 40):
        flow = WassersteinFlow(1.0 / steps, num_steps=steps)
        x = to_numpy(flow(kl_of_normals, DATA))
        mean = DATA.mean() * np.exp(-1.0)
        variance = 1 + (DATA.var() - 1) * np.exp(-2.0)
        errors.append([x.mean() - mean, x.var() - variance])
        # a normal q moves by one affine map: each particle keeps its rank
        z, z0 = ((y - y.mean()) / y.std() for y in (x, DATA))
        np.testing.assert_allclose(z, z0, atol=1e-4)
    # an Euler step is of first order
    ratio = np.array(errors[0]) / np.array(errors[1])
    np.testing.assert_allclose(ratio, 2.0, atol=0.15)
    assert np.abs(errors[1]).max() < 0.02


def test_a_step_is_minus_the_gradient_of_the_variation():
    """F = mean V + Σ_ij W(x_i - x_j) / 2n²: -∇V - mean_j ∇W, by hand."""
    x = normal(6, 2)
    flow = WassersteinFlow(0.1, num_steps=1)

    def energy(x):
        pairs = x[:, None] - x[None]
        alone = ops.mean(ops.sum(x**4, axis=-1))
        return alone + 0.5 * ops.mean(ops.exp(-ops.sum(pairs**2, axis=-1)))

    expected = np.empty_like(x)
    for i in range(6):
        d = x[i] - x
        w = np.exp(-(d**2).sum(axis=-1, keepdims=True))
        expected[i] = x[i] - 0.1 * (4 * x[i] ** 3 + (-2 * d * w).mean(axis=0))
    np.testing.assert_allclose(to_numpy(flow(energy, x)), expected, atol=1e-6)


def test_functional_falls_and_the_mean_of_a_pair_energy_stays():
    x = normal(30, 2)

    def energy(x):
        return 0.5 * ops.mean(ops.sqrt(1 + (x[:, None] - x[None]) ** 2))

    values, means = [float(energy(ops.convert_to_tensor(x)))], [x.mean(axis=0)]
    flow = WassersteinFlow(0.05, num_steps=20)
    for _ in range(4):
        x = to_numpy(flow(energy, x))
        values.append(float(energy(ops.convert_to_tensor(x))))
        means.append(x.mean(axis=0))
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose(means, [means[0]] * 5, atol=1e-5)


def test_charges_in_a_bowl_fill_a_disk_evenly():
    """W = |x|²/2 - log|x| in the plane: at rest, density 1/π up to |x| = 1."""

    def energy(x):
        n = x.shape[0]
        r2 = ops.sum((x[:, None] - x[None]) ** 2, axis=-1) + ops.eye(n)
        return 0.25 * ops.mean(r2 - ops.log(r2))

    x = to_numpy(WassersteinFlow(0.1, num_steps=300)(energy, normal(120, 2)))
    r2 = np.sort(((x - x.mean(axis=0)) ** 2).sum(axis=-1))
    # at rest Σ_i x_i ∂F/∂x_i = 0, so that Σ_(i<j) |x_i - x_j|² = n(n - 1)/2
    np.testing.assert_allclose(r2.mean(), 119 / 240, rtol=1e-3)
    # |x|² of an even disk is even between 0 and 1; charges stand in shells
    np.testing.assert_allclose(r2, (np.arange(120) + 0.5) / 120, atol=0.15)


def test_temperature_adds_the_entropy():
    flow = WassersteinFlow(0.05, num_steps=60, temperature=0.5)

    def bowl(x):
        return 0.5 * ops.mean(ops.sum(x**2, axis=-1))

    x = to_numpy(flow(bowl, normal(20_000, 1), seed=0))
    np.testing.assert_allclose(x.var(), 0.5 / (1 - 0.05 / 2), rtol=0.06)
    still = WassersteinFlow(0.05, num_steps=100)
    np.testing.assert_allclose(
        to_numpy(still(bowl, normal(5, 1))),
        normal(5, 1) * 0.95**100,
        rtol=1e-4,
    )


def test_functional_that_is_none_is_refused():
    flow = WassersteinFlow(0.1, num_steps=2)
    with pytest.raises(ValueError, match="must be callable. Received"):
        flow(3.0, normal(4, 2))
    with pytest.raises(ValueError, match=r"scalar. Received: .*shape=\(4,\)"):
        flow(lambda x: x[:, 0], normal(4, 2))


def test_particles_that_see_each_other_are_not_drawn_in_batches():
    assert not hasattr(WassersteinFlow(0.1, num_steps=2), "sample")
