"""One progress bar for a whole training instead of one per epoch."""

import keras
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class TrainingBar(keras.callbacks.Callback):
    """Shows the steps, the remaining time and the loss of the epoch.

    The bar is a context manager, which restores the terminal when training
    ends or fails.

    Args:
        total: int. Steps of the whole training.
        done: int. Steps that an earlier process has taken.
        visible: bool. Whether to show the bar.
    """

    def __init__(self, total, done=0, visible=True):
        super().__init__()
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps · loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            disable=not visible,
        )
        self.task = self.progress.add_task(
            "training", total=total, completed=done, loss="-"
        )
        self.before = done

    def __enter__(self):
        self.progress.start()
        return self

    def __exit__(self, *error):
        self.progress.stop()

    def on_train_batch_end(self, batch, logs=None):
        self.progress.update(self.task, completed=self.before + batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        self.before = self.before + self.params["steps"]
        loss = f"{logs['loss']:.3f}"
        self.progress.update(self.task, completed=self.before, loss=loss)
