import dataclasses

import keras
import numpy as np
import pytest

from su_models.tasks.base import Task, cosine_decay
from tests.runs.line import Line


@pytest.mark.parametrize(
    "field, value",
    [
        ("steps", 0),
        ("steps", 4.0),
        ("steps", True),
        ("batch_size", 0),
        ("steps_per_epoch", "2"),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("jit_compile", "False"),
        ("seed", -1),
        ("seed", 2**31),
        ("seed", None),
    ],
)
def test_bad_settings_are_refused_at_once(field, value):
    with pytest.raises(ValueError, match=f"Received: {field}={value!r}"):
        Line(**{field: value})


def test_epochs_must_fill_the_training():
    with pytest.raises(ValueError, match="Received: steps=7"):
        Line(steps=7)


def test_numbers_of_numpy_are_settings_too():
    task = Line(steps=np.int64(4), learning_rate=np.float32(0.5))
    assert task == Line(steps=4, learning_rate=0.5)
    assert task.settings() == Line(steps=4, learning_rate=0.5).settings()


def test_settings_are_what_json_gives_back():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wide(Line):
        widths: tuple = (3, 4)

    settings = Wide().settings()
    assert settings["task"] == "line" and settings["widths"] == [3, 4]
    assert settings["steps"] == 6


def test_settings_are_changed_by_words():
    task = Line().with_settings(
        {"steps": "4", "learning_rate": ".5", "jit_compile": "true", "seed": 3}
    )
    assert task == Line(steps=4, learning_rate=0.5, jit_compile=True, seed=3)
    with pytest.raises(ValueError, match="mean steps. Received: stepz"):
        Line().with_settings({"stepz": "4"})
    with pytest.raises(ValueError, match="Received: steps='many'"):
        Line().with_settings({"steps": "many"})


def test_steps_come_in_epochs_that_fit():
    task = Line(steps=8000, steps_per_epoch=200)
    for steps, epoch in ((400, 200), (50, 50), (450, 150), (201, 67), (1, 1)):
        fitting = task.with_steps(steps)
        assert (fitting.steps, fitting.steps_per_epoch) == (steps, epoch)
    with pytest.raises(ValueError, match="Received: steps=0"):
        task.with_steps(0)


def test_what_a_task_cannot_do_is_said():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Silent(Task):
        task_name = "silent"

    task = Silent()
    with pytest.raises(NotImplementedError, match="silent draws no samples"):
        task.sample(None, 3)
    with pytest.raises(NotImplementedError, match="silent has no evaluation"):
        task.evaluate(None)
    with pytest.raises(NotImplementedError, match="silent generates no text"):
        task.generate(None, ["a"])
    assert task.pictures(None) == {} and task.endpoints(None) == {}
    assert task.callbacks(None) == []


def test_options_that_generate_does_not_have_are_named():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Echo(Line):
        generate_options = ("seed", "top_p")

    Echo().check_generate_options({"seed": 3})
    with pytest.raises(ValueError, match="line has no .*top_p. Rec.*: topp"):
        Echo().check_generate_options({"seed": 3, "topp": 1})


def test_the_rate_rises_and_falls():
    rate = cosine_decay(Line(steps=100, steps_per_epoch=10), 10, 0.02)
    rates = [
        float(keras.ops.convert_to_numpy(rate(n))) for n in (0, 5, 10, 55, 100)
    ]
    expected = [0, 0.05, 0.1, 0.051, 0.002]
    np.testing.assert_allclose(rates, expected, rtol=1e-3, atol=1e-9)
