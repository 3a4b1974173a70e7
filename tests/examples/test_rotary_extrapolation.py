"""Article: https://kexue.fm/archives/8265

What the example is made of: its text, its windows, its bits, its models.
"""

import importlib.util
import pathlib

import numpy as np
import pytest

from tests.contract import normal, to_numpy

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def example():
    path = ROOT / "examples" / "rotary_extrapolation.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_held_out_text_is_no_part_of_the_training_text(example):
    characters, train, held_out = example.texts()
    train, held_out = (
        "".join(characters[i] for i in codes) for codes in (train, held_out)
    )
    assert 0.05 < len(held_out) / len(train) < 0.2
    pieces = [held_out[i : i + 200] for i in range(0, len(held_out), 2000)]
    assert sum(piece in train for piece in pieces) < 0.1 * len(pieces)


def test_targets_are_the_next_characters(example):
    codes = np.arange(1000)
    for x, y in (
        example.random_windows(codes, 5, 30, seed=0),
        example.all_windows(codes, 30),
    ):
        assert x.shape == y.shape and x.shape[1] == 30
        np.testing.assert_array_equal(y, x + 1)
    assert len(x) == 33


def test_bits_of_a_model_that_knows_nothing(example):
    def uniform(x):
        return np.zeros((*x.shape, 8), "float32")

    x = np.arange(2 * 512).reshape(2, 512) % 8
    bits = example.losses(uniform, x, x)
    np.testing.assert_allclose(bits, 3.0)
    for mean, error in example.by_range(bits).values():
        assert abs(mean - 3) < 1e-9 and error < 1e-9


@pytest.mark.parametrize(
    "kind", ["learned", "sinusoidal", "bias", "rotary", "rotary, log n"]
)
def test_models_see_no_future_and_read_beyond_their_table(example, kind):
    model = example.build(11, kind)
    x = np.random.default_rng(0).integers(11, size=(1, 140))
    logits = to_numpy(model(x))
    x[:, 135:] = 0
    np.testing.assert_allclose(
        logits[:, :135], to_numpy(model(x))[:, :135], atol=1e-5
    )


def test_window_does_not_matter_within_it(example):
    full, near = (
        example.build(11, "rotary", window)
        for window in (None, example.TRAINED)
    )
    for w in full.weights:
        w.assign(to_numpy(w) + 0.1 * normal(*w.shape))
    near.set_weights(full.get_weights())
    x = np.random.default_rng(0).integers(11, size=(1, 140))
    a, b = to_numpy(full(x)), to_numpy(near(x))
    np.testing.assert_allclose(a[:, :128], b[:, :128], atol=1e-4)
    assert np.abs(a[:, 128:] - b[:, 128:]).max() > 1e-3
