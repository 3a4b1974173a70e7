"""Article: https://kexue.fm/archives/9526"""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NOISE = example("tailr_label_noise")


def test_every_fifth_label_becomes_another_one():
    labels = np.arange(1000) % 10
    noisy = NOISE.corrupt(labels, 0.2, 10, np.random.default_rng(0))
    wrong = noisy != labels
    assert wrong.sum() == 200
    assert set(noisy) == set(range(10))
    # every other class is as likely
    shifts = np.bincount((noisy - labels)[wrong] % 10, minlength=10)
    assert shifts[0] == 0 and shifts[1:].min() > 10
    assert (labels == np.arange(1000) % 10).all()


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.65, 0.35]])
    y = np.array([0, 1, 1, 0])
    # one sample a bin: |confidence - right| = 0.1, 0.8, 0.3, 0.35
    ours = NOISE.calibration_error(p, y, bins=20)
    np.testing.assert_allclose(ours, (0.1 + 0.8 + 0.3 + 0.35) / 4)
    # two bins: all in the second, where confidence 0.7625 meets 3/4
    ours = NOISE.calibration_error(p, y, bins=2)
    np.testing.assert_allclose(ours, 0.0125)
    sure = np.eye(2)[y]
    assert NOISE.calibration_error(sure, y) == 0


@pytest.mark.slow
def test_smoke_run_leaves_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tailr_label_noise.py", "--smoke"])
    NOISE.main()
    folder = tmp_path / "runs" / "smoke-tailr-label-noise"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert {*metrics["results"]} == {*NOISE.METHODS}
    for runs in metrics["results"].values():
        assert 0.2 < runs[0]["accuracy"] <= 1
    assert (folder / "accuracy_and_ece.png").stat().st_size > 5000
    assert "cross-entropy" in capsys.readouterr().out
