"""Article: https://kexue.fm/archives/9119

What the judge says of good, bad and copied digits.
"""

import numpy as np
import pytest

from su_models.data import load
from su_models.tasks.image_judge import frechet_distance, judge_of, scaled


@pytest.fixture(scope="module")
def data():
    """Scaled images and labels, of training and held out."""
    found = []
    for split in load("digits").values():
        found += [scaled(split["x"], 16), split["y"]]
    return found


@pytest.fixture(scope="module")
def judge():
    return judge_of("digits")


def test_integers_are_scaled_to_the_range():
    for white in (16, 255):  # the scale is the set's, not the picture's
        dark = scaled(np.array([0, 4], "uint8"), white)
        np.testing.assert_allclose(dark, [-1, 8 / white - 1], atol=1e-6)


def test_held_out_digits_are_as_good_as_themselves(judge, data):
    figures = judge(data[2])
    assert figures["judge_accuracy"] > 0.97
    assert figures["confident_share_ratio"] == 1
    assert figures["nearest_neighbour_ratio"] == pytest.approx(1, abs=1e-6)
    assert figures["frechet_ratio"] < 2.5


def test_copies_of_the_training_digits_are_told(judge, data):
    figures = judge(data[0][:600])
    assert figures["nearest_neighbour"] == 0


def test_distances_are_those_of_a_loop(judge, data):
    train, held_out = (
        load("digits")[split]["x"].reshape(-1, 64).astype("float64")
        for split in ("train", "test")
    )
    expected = [
        min(np.sqrt(((x - y) ** 2).sum()) for y in train) for x in held_out[:40]
    ]
    figures = judge(data[2][:40])
    assert figures["nearest_neighbour"] == pytest.approx(np.median(expected))


def test_samples_are_clipped_to_what_a_picture_holds(judge, data):
    wild = data[2] * 1.5
    assert judge(wild) == judge(np.clip(wild, -1, 1))


def test_shares_of_classes_are_counted(judge, data):
    figures = judge(data[2][data[3] == 3])
    assert figures["largest_class_share"] > 0.95
    assert figures["smallest_class_share"] == 0


def test_the_judge_is_made_once(judge):
    assert judge_of("digits") is judge and judge.num_samples == 1000


@pytest.mark.data
@pytest.mark.slow
def test_other_sets_have_a_judge_too():
    judge = judge_of("mnist")
    test = load("mnist")["test"]
    figures = judge(scaled(test["x"][:500]))
    assert 0.88 < figures["judge_accuracy"] < 0.95
    assert judge.num_samples == 500


def test_frechet_distance_of_known_gaussians():
    # of N(0, 1) and N(3, 4) in each of two axes: 2 (9 + (1 - 2)²)
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (200_000, 2))
    y = random.normal(3, 2, (200_000, 2))
    assert abs(frechet_distance(x, y) - 20) < 0.2
    assert abs(frechet_distance(x, x)) < 1e-9
