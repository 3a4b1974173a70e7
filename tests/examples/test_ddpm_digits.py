"""Article: https://kexue.fm/archives/9119

The judge of the example: what it says of good, bad and copied digits.
"""

import importlib.util
import pathlib

import numpy as np
import pytest

from su_models.data import load

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
    flat = []
    for split in load("digits").values():
        flat += [split["x"].reshape(-1, 64).astype("float32"), split["y"]]
    return flat


@pytest.fixture(scope="module")
def judge(data):
    return DIGITS.Judge(*data)


def reached(figures):
    return {
        name: low <= figures[name] <= high
        for name, (low, high) in DIGITS.TARGETS.items()
    }


def test_held_out_digits_pass(judge, data):
    figures = judge(data[2])
    assert all(reached(figures).values())
    assert figures["confident_share_ratio"] == 1
    assert figures["nearest_neighbour_ratio"] == 1


def test_copies_of_the_training_digits_are_told(judge, data):
    figures = judge(data[0][:600])
    assert figures["nearest_neighbour"] == 0
    assert not reached(figures)["nearest_neighbour_ratio"]


def test_one_class_alone_is_told(judge, data):
    figures = judge(data[2][data[3] == 3])
    assert not reached(figures)["smallest_class_share"]
    assert not reached(figures)["largest_class_share"]
    assert not reached(figures)["frechet_ratio"]


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_noise_and_averages_are_no_digits(judge, data, kind):
    random = np.random.default_rng(0)
    if kind == "noise":
        samples = random.uniform(0, 16, (500, 64))
    else:
        samples = data[2][random.integers(597, size=(500, 4))].mean(axis=1)
    figures = judge(samples)
    assert not reached(figures)["frechet_ratio"]
    assert not reached(figures)["confident_share_ratio"]


def test_frechet_distance_of_known_gaussians():
    # of N(0, 1) and N(3, 4) in each of two axes: 2 (9 + (1 - 2)²)
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (200_000, 2))
    y = random.normal(3, 2, (200_000, 2))
    assert abs(DIGITS.frechet_distance(x, y) - 20) < 0.2
    assert abs(DIGITS.frechet_distance(x, x)) < 1e-9
