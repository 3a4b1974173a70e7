"""Article: https://kexue.fm/archives/7234

The parts of the example: its attack, its few labels, its rows and its table.
"""

import dataclasses
import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


DIGITS = example("adversarial_digits")


def images(n=12):
    """Images whose brightest column is their digit, 0 or 1."""
    y = np.arange(n) % 2
    x = np.full((n, 8, 8, 1), 0.25, "float32")
    x[np.arange(n), :, y] = 0.6
    return {"x": x, "y": y.astype("int32")}


def linear():
    """Logits 0 and 1 are the sums of columns 0 and 1; others never win."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    kernel = np.zeros((8, 8, 10), "float32")
    for k in range(2):
        kernel[:, k, k] = 1
    bias = np.array([0.0] * 2 + [-100.0] * 8)
    model.set_weights([kernel.reshape(64, 10), bias])
    return model


def test_the_attack_is_the_worst_one_of_a_linear_model():
    """Down the own column and up the other one, each by |δ| / 4."""
    split, radius = images(), 0.4
    moved = DIGITS.attacked(linear(), split, radius) - split["x"]
    norms = np.sqrt(np.square(moved).sum((1, 2, 3)))
    np.testing.assert_allclose(norms, radius, atol=1e-5)
    own = np.stack([m[:, k, 0] for m, k in zip(moved, split["y"], strict=True)])
    np.testing.assert_allclose(own, -radius / 4, atol=1e-2)
    assert (DIGITS.attacked(linear(), split, 0.0) == split["x"]).all()


def test_attacked_pixels_stay_in_their_range():
    moved = DIGITS.attacked(linear(), images(), 3.0)
    assert moved.min() == 0 and moved.max() <= 1


def test_accuracy_falls_with_the_radius():
    found = DIGITS.accuracies(linear(), images())
    # columns differ by 0.35, and each moves by |δ| / 4: 0.7 turns them
    turned = [r > 0.7 for r in DIGITS.RADII]
    assert found[0] == 1 and len(found) == len(DIGITS.RADII)
    assert [value == 0 for value in found] == turned


def test_few_labels_are_as_many_of_each_digit():
    y = np.repeat(np.arange(10), 20)
    rows = DIGITS.labeled(y, True, seed=0)
    assert (np.bincount(y[rows]) == DIGITS.FEW).all()
    assert (rows != DIGITS.labeled(y, True, seed=1)).any()
    assert (DIGITS.labeled(y, False, seed=0) == np.arange(200)).all()


def test_each_step_has_its_rows_and_each_row_its_turn():
    config = DIGITS.Config(steps=5, batch=4)
    rows = DIGITS.shuffled(np.arange(10), config, 0)
    assert rows.shape == (5, 4)
    assert (np.bincount(rows.ravel()) == 2).all()


@pytest.mark.parametrize("name", DIGITS.METHODS)
def test_each_method_trains(name):
    config = dataclasses.replace(DIGITS.SMOKE, batch=4)
    split = {
        "x": np.random.default_rng(0).uniform(size=(60, 8, 8, 1)),
        "y": np.arange(60) % 10,
    }
    split["x"] = split["x"].astype("float32")
    model = DIGITS.train(DIGITS.METHODS[name], 0, split, config)
    keras.utils.set_random_seed(0)
    start = DIGITS.network(config)
    for w, b in zip(model.get_weights(), start.get_weights(), strict=True):
        assert np.isfinite(w).all() and (w != b).any()


def test_the_table_has_mean_and_deviation():
    runs = [[0.9, 0.8, 0.7, 0.6, 0.5], [0.8, 0.7, 0.6, 0.5, 0.4]]
    line = DIGITS.table({"fgm": runs})[1]
    assert "85.00 ± 7.07" in line and "65.00 ± 7.07" in line


@pytest.mark.slow
def test_smoke_run_leaves_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    DIGITS.main(["--smoke", "--methods", "plain", "vat-few"])
    assert "VAT, 50 labels" in capsys.readouterr().out
    folder = tmp_path / "runs" / "smoke-adversarial-digits"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert [*metrics["results"]] == ["plain", "vat-few"]
    for (run,) in metrics["results"].values():
        assert len(run) == len(metrics["radii"]) and 0 <= min(run)
    assert (folder / "accuracy.png").stat().st_size > 5000
