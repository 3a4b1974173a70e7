"""Reports of a run: curves, pictures and metrics."""

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
        model: the model that `task.train` returned.
        folder: folder of the run.
        seed: int from 0 to 2³¹ - 1. Seed of the pictures.
        **options: further arguments of `task.pictures`.
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
        model: the model that `task.train` returned.
        folder: folder of the run.
        progress: bool. Whether to show the progress.
        **options: further arguments of `task.evaluate`.

    Returns:
        The metrics, a dict of floats. The file also records the environment
        in which they were computed.
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
    """Returns the plot of the training history as the bytes of a PNG file."""
    from matplotlib.figure import Figure  # here, since the import is slow

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
    """Returns a number with 6 digits, or None if it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
