"""The history of a training in `history.csv`."""

import csv
import io
import pathlib
import time

import keras
import numpy as np

from su_models.utils.files import write_bytes


class TrainingLog(keras.callbacks.Callback):
    """Collects the logs of each epoch, and writes them as a table.

    The whole table is rewritten after each epoch, so that it never contains
    an incomplete row or an epoch twice.

    Args:
        path: the file to write, `.csv`.
        rows: list of dicts, the epochs that earlier processes trained.
    """

    def __init__(self, path, rows=()):
        super().__init__()
        self.path = pathlib.Path(path)
        self.rows = list(rows)

    @property
    def seconds(self):
        """Seconds of training up to the last epoch, in all processes."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    @property
    def is_finite(self):
        """Whether all numbers of the last epoch are finite."""
        return not self.rows or bool(
            np.isfinite([*self.rows[-1].values()]).all()
        )

    def on_train_begin(self, logs=None):
        self.begun = time.monotonic() - self.seconds
        if self.rows:
            self.write()

    def on_epoch_end(self, epoch, logs=None):
        numbers = {name: float(value) for name, value in logs.items()}
        seconds = time.monotonic() - self.begun
        self.rows.append({"epoch": epoch, **numbers, "seconds": seconds})
        self.write()

    def write(self):
        """Writes the table."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(self.rows[0])
        for row in self.rows:
            *numbers, seconds = row.values()
            numbers = (f"{number:.6g}" for number in numbers)
            table.writerow([*numbers, f"{seconds:.3f}"])
        write_bytes(self.path, text.getvalue().encode())


def read_history(folder):
    """Returns the training history of a run.

    Incomplete rows are ignored, and of repeated epochs the last one is used:
    version 0.1 wrote such tables when it was killed.

    Args:
        folder: folder of a run.

    Returns:
        A dict from the names of the columns to arrays with one number per
        epoch: `"epoch"`, `"loss"`, other reported values, and `"seconds"`.

    Raises:
        ValueError: if there is no table, or it is empty.
    """
    path = pathlib.Path(folder) / "history.csv"
    try:
        names, *rows = csv.reader(path.read_text("utf-8").splitlines())
        found = {}
        for row in rows:
            numbers = _numbers(row)
            if numbers and len(numbers) == len(names):
                found[numbers[0]] = numbers
        if not found or [names[0], names[-1]] != ["epoch", "seconds"]:
            raise ValueError("it has no complete row")
        columns = np.array([found[epoch] for epoch in sorted(found)]).T
        return dict(zip(names, columns, strict=True))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The table of the training cannot be read. Received: {path} "
            f"({error})"
        ) from error


def _numbers(row):
    """Returns the numbers in a row, or None if it is incomplete."""
    try:
        return [float(cell) for cell in row]
    except ValueError:
        return []
