"""What a run shows of itself: its curves, its pictures, its figures."""

import datetime
import io
import platform

import keras
import numpy as np

from su_models.backend.selection import backend_name
from su_models.runs.run_folder import RunFolder
from su_models.runs.training_log import read_history
from su_models.utils.picture import png


def draw_run(task, model, folder, seed=0, **options):
    """Writes `training.png` and the task's pictures into a run's folder.

    Args:
        task: a `su_models.tasks.base.Task`.
        model: what `task.train` returned.
        folder: folder of the run.
        seed: int from 0 to 2³¹ - 1, of the pictures.
        **options: what else `task.pictures` takes.
    """
    run = RunFolder(folder)
    if run.history.exists():
        run.write("training.png", training_curves(task, folder))
    for name, picture in task.pictures(model, seed, **options).items():
        run.write(f"{name}.png", png(picture))


def evaluate_run(task, model, folder, progress=True, **options):
    """Evaluates a trained model, and writes `metrics.json`.

    Args:
        task: a `su_models.tasks.base.Task`.
        model: what `task.train` returned.
        folder: folder of the run.
        progress: bool. Shows progress.
        **options: what else `task.evaluate` takes.

    Returns:
        The figures, a dict of floats. The file holds them, and under which
        circumstances they came about.
    """
    run = RunFolder(folder)
    figures = task.evaluate(model, progress, **options)
    figures = {name: float(value) for name, value in figures.items()}
    metrics = {
        **{name: _rounded(value) for name, value in figures.items()},
        "parameters": model.count_params(),
        "steps": task.steps,
        "seed": task.seed,
        "keras": keras.__version__,
        "backend": backend_name(),
        "machine": platform.machine(),
        "date": datetime.date.today().isoformat(),
    }
    if run.history.exists():
        metrics["training_seconds"] = float(read_history(folder)["seconds"][-1])
    run.write_json("metrics.json", metrics)
    return figures


def training_curves(task, folder):
    """Returns what was reported in each epoch as the bytes of a PNG file."""
    from matplotlib.figure import Figure  # here: it takes its time

    columns = read_history(folder)
    steps = task.steps_per_epoch * (columns.pop("epoch") + 1)
    del columns["seconds"]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in columns.items():
        axes.plot(steps, values, marker=".", label=name)
    positive = all(np.nanmin(v) > 0 for v in columns.values())
    axes.set(
        xlabel="step",
        ylabel=task.loss_label,
        yscale="log" if positive else "linear",
        title=f"Training of {RunFolder(folder).path.name}",
    )
    if len(columns) > 1:
        axes.legend()
    axes.grid(alpha=0.3, which="both")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _rounded(value):
    """Returns a figure with 6 digits, JSON's null if it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
