"""Article: https://kexue.fm/archives/9119"""

import json

import keras
import numpy as np
import pytest

from su_models.ops.noise_schedule import check_schedule
from su_models.sampling import NoiseSchedule


def test_author_matches_eq_18_and_its_products():
    schedule = NoiseSchedule.author(1000)
    bar = 1.0
    for t in range(1, 1001):
        alpha = np.sqrt(1 - 0.02 * t / 1000)
        bar *= alpha
        np.testing.assert_allclose(schedule.alpha[t], alpha, rtol=1e-14)
        np.testing.assert_allclose(schedule.bar_alpha[t], bar, rtol=1e-12)
        np.testing.assert_allclose(
            schedule.bar_beta[t], np.sqrt(1 - bar**2), rtol=1e-12
        )


def test_author_anchors():
    schedule = NoiseSchedule.author(1000)
    np.testing.assert_allclose(schedule.bar_alpha[1000], 0.00648203, atol=5e-9)
    np.testing.assert_allclose(schedule.bar_alpha[500], 0.28459157, atol=5e-9)
    np.testing.assert_allclose(schedule.beta[1], 0.00447214, atol=5e-9)
    s = np.arange(1001) / 1000  # article 9181: ᾱ(s) ≈ exp(-5 s²)
    gap = np.abs(schedule.bar_alpha - np.exp(-5 * s**2)).max()
    np.testing.assert_allclose(gap, 0.00193, atol=5e-6)


def test_linear_betas_of_the_paper():
    schedule = NoiseSchedule.from_betas(np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(schedule.bar_alpha[1000], 0.00635282, atol=5e-9)


def test_signal_and_noise_keep_the_variance():
    for schedule in (NoiseSchedule.author(50), NoiseSchedule.cosine(50)):
        for a, b in (
            (schedule.alpha, schedule.beta),
            (schedule.bar_alpha, schedule.bar_beta),
        ):
            np.testing.assert_allclose(a**2 + b**2, 1.0, rtol=1e-14)
        assert schedule.bar_alpha[0] == 1 and schedule.bar_beta[0] == 0
        assert (np.diff(schedule.bar_alpha) < 0).all()


def test_cosine_matches_its_formula():
    schedule = NoiseSchedule.cosine(1000)
    angle = np.pi / 2 * (np.array([0, 400]) / 1000 + 0.008) / 1.008
    expected = np.cos(angle[1]) / np.cos(angle[0])
    np.testing.assert_allclose(schedule.bar_alpha[400], expected, rtol=1e-12)


def test_cap_of_the_cosine_acts_on_the_last_step_alone():
    # there f(T) = 0, and nothing of the signal would be left
    schedule = NoiseSchedule.cosine(1000)
    np.testing.assert_allclose(schedule.beta[1000] ** 2, 0.999, rtol=1e-12)
    angle = np.pi / 2 * (np.array([999, 998]) / 1000 + 0.008) / 1.008
    expected = 1 - (np.cos(angle[0]) / np.cos(angle[1])) ** 2
    np.testing.assert_allclose(schedule.beta[999] ** 2, expected, rtol=1e-9)
    assert expected > 0.74


@pytest.mark.parametrize("offset", ["abc", True, -0.1, float("nan"), None])
def test_bad_offsets_are_refused(offset):
    with pytest.raises(ValueError, match=f"Received: offset={offset!r}"):
        NoiseSchedule.cosine(offset=offset)


@pytest.mark.parametrize("schedule", [3, None, "author", {"alphas": [0.5]}])
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(ValueError, match="`schedule` must be .*Received: "):
        check_schedule(schedule)


def test_numpy_numbers_are_numbers():
    a = NoiseSchedule.cosine(np.int64(30), offset=np.float32(0.25))
    b = NoiseSchedule.cosine(30, offset=0.25)
    assert type(a.num_steps) is int
    np.testing.assert_array_equal(a.alpha, b.alpha)


def test_config_survives_json_exactly():
    schedule = NoiseSchedule.cosine(30)
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(config))
    )
    np.testing.assert_array_equal(again.bar_beta, schedule.bar_beta)


@pytest.mark.parametrize(
    "num_steps", [0, -3, 2.5, True, float("nan"), float("inf"), "a", None]
)
def test_bad_numbers_of_steps_are_refused(num_steps):
    with pytest.raises(ValueError, match=f"Received: num_steps={num_steps!r}"):
        NoiseSchedule.author(num_steps)


@pytest.mark.parametrize(
    "alphas",
    [
        [],
        [[0.5]],
        [0.5, 0.0],
        [1.0, 0.5],  # β̄_1 = 0
        [0.5, 1.5],
        [0.5, float("nan")],
        "abc",
        ["0.5"],
        [True],
        [[0.5], [0.5, 0.6]],
        None,
    ],
)
def test_bad_alphas_are_refused(alphas):
    with pytest.raises(ValueError, match="`?alphas`.*Received: "):
        NoiseSchedule(alphas)


@pytest.mark.parametrize(
    "betas",
    [[-0.1], [0.0, 0.5], [1e-20, 0.5], [1.0], [float("nan")], [], "a", ["0.1"]],
)
def test_bad_betas_are_refused(betas):
    with pytest.raises(ValueError, match="`(betas|alphas)`.*Received: "):
        NoiseSchedule.from_betas(betas)
