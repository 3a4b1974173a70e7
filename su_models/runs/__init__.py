"""Run folders of trainings: claim, backup, history and report."""

from su_models.runs.report import draw_run, evaluate_run
from su_models.runs.run_folder import RunFolder
from su_models.runs.training_log import read_history

__all__ = [
    "RunFolder",
    "draw_run",
    "evaluate_run",
    "read_history",
]
