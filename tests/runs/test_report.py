import json

import numpy as np
import pytest
from matplotlib import image as image_files

from su_models.runs.report import draw_run, evaluate_run
from tests.runs.line import Line, names


@pytest.fixture
def run(tmp_path):
    (tmp_path / "history.csv").write_text(
        "epoch,loss,mae,seconds\n0,4,2,1.5\n1,3,1,2.25\n"
    )
    return tmp_path, Line().build()


def test_pictures_of_a_run(run):
    folder, model = run
    draw_run(Line(), model, folder, seed=7)
    assert names(folder) == ["grey.png", "history.csv", "training.png"]
    grey = image_files.imread(folder / "grey.png")
    assert grey.shape == (4, 6, 4)
    np.testing.assert_allclose(grey[..., :3], 107 / 255, atol=1e-6)
    assert image_files.imread(folder / "training.png").ndim == 3


def test_negative_and_missing_losses_are_drawn(run):
    folder, model = run
    draw_run(Line(), model, folder)
    positive = (folder / "training.png").read_bytes()
    text = "epoch,loss,seconds\n0,-4,1\n1,nan,2\n2,3,3\n"
    (folder / "history.csv").write_text(text)
    draw_run(Line(), model, folder)
    assert (folder / "training.png").read_bytes() != positive
    (folder / "history.csv").unlink()
    (folder / "training.png").unlink()
    draw_run(Line(), model, folder)
    assert names(folder) == ["grey.png"]


def test_figures_and_their_circumstances_are_written(run):
    folder, model = run
    task = Line(steps=4, seed=3)
    figures = evaluate_run(task, model, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert figures.keys() == {"error"} and figures["error"] > 0
    assert metrics["error"] == pytest.approx(figures["error"], rel=1e-5)
    assert (metrics["steps"], metrics["seed"]) == (4, 3)
    assert metrics["parameters"] == 19
    assert metrics["training_seconds"] == 2.25
    for name in ("keras", "backend", "machine", "date"):
        assert metrics[name]


def test_a_figure_that_is_not_finite_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Line, "evaluate", lambda *a: {"error": np.float32("nan")}
    )
    evaluate_run(Line(), Line().build(), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["error"] is None
