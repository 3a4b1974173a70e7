"""Article: https://kexue.fm/archives/9119

The targets of the example: who reaches them, and who does not.
"""

import importlib.util
import pathlib

import numpy as np
import pytest

from su_models.data import load
from su_models.tasks.image_judge import judge_of, scaled

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DIGITS = example("ddpm_digits")


@pytest.fixture(scope="module")
def data():
    found = []
    for split in load("digits").values():
        found += [scaled(split["x"], 16), split["y"]]
    return found


def reached(images):
    figures = judge_of("digits")(images)
    return {
        name: low <= figures[name] <= high
        for name, (low, high) in DIGITS.TARGETS.items()
    }


def test_held_out_digits_pass(data):
    assert all(reached(data[2]).values())


def test_copies_of_the_training_digits_are_told(data):
    assert not reached(data[0][:600])["nearest_neighbour_ratio"]


def test_one_class_alone_is_told(data):
    found = reached(data[2][data[3] == 3])
    assert not found["smallest_class_share"]
    assert not found["largest_class_share"]
    assert not found["frechet_ratio"]


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_noise_and_averages_are_no_digits(data, kind):
    random = np.random.default_rng(0)
    if kind == "noise":
        samples = random.uniform(-1, 1, (500, 8, 8, 1))
    else:
        samples = data[2][random.integers(597, size=(500, 4))].mean(axis=1)
    found = reached(samples)
    assert not found["frechet_ratio"]
    assert not found["confident_share_ratio"]
