"""Article: https://kexue.fm/archives/9119"""

import json

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled
from su_models.layers import ForwardDiffusion
from su_models.sampling import NoiseSchedule
from tests.contract import normal, to_numpy

SCHEDULE = NoiseSchedule.author(12)


def draw(layer, x):
    """Returns x_t, t and the noise as NumPy arrays."""
    x, t, noise = layer(x)
    return to_numpy(x), ops.convert_to_numpy(t), to_numpy(noise)


def draw_steps(batch_size, draws, seed=4):
    """Returns t `(draws, batch_size)`, a batch after the other."""
    layer = ForwardDiffusion(SCHEDULE, seed=seed)
    zeros = np.zeros((batch_size, 1), "float32")
    program = compiled(lambda x: layer(x)[1])
    return np.stack(
        [ops.convert_to_numpy(program(zeros)) for _ in range(draws)]
    )


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5, 2)])
def test_matches_eq_6(shape):
    clean = normal(*shape)
    noisy, steps, noise = draw(ForwardDiffusion(SCHEDULE, seed=1), clean)
    for i, t in enumerate(steps):
        bar = 1.0  # ᾱ_t
        for s in range(1, t + 1):
            bar *= np.sqrt(1 - 0.02 * s / 12)
        expected = bar * clean[i] + np.sqrt(1 - bar**2) * noise[i]
        np.testing.assert_allclose(noisy[i], expected, atol=1e-6)


def test_steps_are_integers_in_1_to_num_steps():
    steps = draw_steps(batch_size=5, draws=200)
    assert steps.dtype == np.int32
    assert set(np.unique(steps)) == set(range(1, 13))  # both ends are met
    one = ForwardDiffusion(NoiseSchedule.author(1), seed=0)
    assert draw(one, normal(5, 2))[1].tolist() == [1] * 5


@pytest.mark.parametrize("batch_size", [1, 5])
def test_each_image_of_a_batch_has_uniform_steps(batch_size):
    draws = 1200
    steps = draw_steps(batch_size, draws)
    for position in range(batch_size):
        counts = np.bincount(steps[:, position], minlength=13)[1:]
        chi_square = ((counts - draws / 12) ** 2 / (draws / 12)).sum()
        assert chi_square < 37.4  # 11 degrees of freedom: once in 10 000


def test_a_batch_takes_one_step_of_each_stratum():
    steps = draw_steps(batch_size=4, draws=100)
    strata = (steps - 1) // 3  # 4 strata of 3 steps
    np.testing.assert_array_equal(
        np.sort(strata, axis=1), np.broadcast_to(np.arange(4), (100, 4))
    )
    many = draw_steps(batch_size=24, draws=20)  # more images than steps
    for batch in many:
        assert np.bincount(batch, minlength=13)[1:].tolist() == [2] * 12


def test_noise_is_standard_normal_and_new_for_each_image():
    layer, x = ForwardDiffusion(SCHEDULE, seed=2), np.zeros((64, 256), "f4")
    first, second = draw(layer, x)[2], draw(layer, x)[2]
    for noise in first, second:
        assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
        assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)
        rows = np.corrcoef(noise) - np.eye(64)
        assert np.abs(rows).max() < 6 / np.sqrt(256)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.04


def test_seed_decides_steps_and_noise():
    def batches(seed):
        layer = ForwardDiffusion(SCHEDULE, seed=seed)
        return [draw(layer, normal(5, 3)) for _ in range(2)]

    first, again, other = batches(7), batches(7), batches(8)
    for a, b in zip(first, again, strict=True):
        for u, v in zip(a, b, strict=True):
            np.testing.assert_array_equal(u, v)
    assert (first[0][2] != first[1][2]).all()
    assert (first[0][2] != other[0][2]).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_noise_stays_float32_in_low_precision(policy):
    layer = ForwardDiffusion(SCHEDULE, seed=3, dtype=policy)
    clean = ops.convert_to_numpy(ops.zeros((5, 64)))
    noisy, steps, noise = layer(clean)
    low = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(noisy.dtype) == low
    assert keras.backend.standardize_dtype(noise.dtype) == "float32"
    assert keras.backend.standardize_dtype(steps.dtype) == "int32"
    rounded = to_numpy(ops.cast(noise, low))
    assert (rounded != to_numpy(noise)).mean() > 0.9  # not rounded to `low`
    sigma = SCHEDULE.bar_beta[ops.convert_to_numpy(steps)][:, None]
    expected = to_numpy(ops.cast(sigma * to_numpy(noise), low))
    np.testing.assert_allclose(to_numpy(noisy), expected, rtol=1e-2)


def test_config_keeps_the_schedule_through_json():
    schedule = NoiseSchedule.from_betas(np.linspace(1e-4, 0.3, 7))
    layer = ForwardDiffusion(schedule, seed=9)
    config = json.loads(json.dumps(layer.get_config()))
    copy = ForwardDiffusion.from_config(config)
    np.testing.assert_array_equal(copy.schedule.bar_alpha, schedule.bar_alpha)
    ours, copied = draw(layer, normal(3, 2)), draw(copy, normal(3, 2))
    for a, b in zip(ours, copied, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("schedule", [1000, "author", None, [0.9, 0.8]])
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(ValueError, match="`schedule` must be .*Received: "):
        ForwardDiffusion(schedule)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40, True, 1.5, "a"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        ForwardDiffusion(SCHEDULE, seed=seed)


def test_numpy_seed_is_a_seed():
    layer = ForwardDiffusion(SCHEDULE, seed=np.int64(3))
    assert type(layer.get_config()["seed"]) is int
    ours, again = (
        draw(one, normal(3, 2))
        for one in (layer, ForwardDiffusion(SCHEDULE, seed=3))
    )
    np.testing.assert_array_equal(ours[0], again[0])


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX has float64 on request alone"
)
def test_float64_is_kept():
    clean = 1.0 + 1e-12 * np.arange(6.0).reshape(2, 3)
    x, t, noise = map(
        ops.convert_to_numpy,
        ForwardDiffusion(SCHEDULE, seed=3, dtype="float64")(clean),
    )
    assert x.dtype == "float64" and noise.dtype == "float32"
    signal, sigma = (
        table[t][:, None] for table in (SCHEDULE.bar_alpha, SCHEDULE.bar_beta)
    )
    np.testing.assert_allclose(x, signal * clean + sigma * noise, rtol=1e-14)


def test_shapes_of_all_outputs_are_told():
    layer = ForwardDiffusion(SCHEDULE)
    assert layer.compute_output_shape((None, 4, 5)) == (
        (None, 4, 5),
        (None,),
        (None, 4, 5),
    )
