"""The training of any task, with lock, backup, resumption and checks."""

import keras
import numpy as np
from keras import ops

from su_models.backend.untuned import untuned
from su_models.runs.backup import Backup
from su_models.runs.progress import TrainingBar
from su_models.runs.run_folder import RunFolder
from su_models.runs.training_log import TrainingLog


def train_run(task, folder, examples=None, progress=True):
    """Trains a task, or resumes an interrupted training.

    Seeds Keras, NumPy and Python (`keras.utils.set_random_seed`).

    Args:
        task: a `su_models.tasks.base.Task`.
        folder: folder of the run, which is created if necessary.
        examples: optional training data instead of `task.examples()`.
        progress: bool. Whether to show a progress bar.

    Returns:
        The model. A finished run is loaded instead of trained again.

    Raises:
        ValueError: if the folder holds another run, or the examples do not
            fit the model.
        BlockingIOError: if another process is writing in the folder.
        OSError: if the folder cannot be written. These three are raised
            before training.
        FloatingPointError: if a reported number is no longer finite.
    """
    run, settings = RunFolder(folder), task.settings()
    if run.is_done:
        return _finished(run, settings)
    examples = task.examples() if examples is None else examples
    keras.utils.set_random_seed(task.seed)
    model = task.build()
    task.check_examples(examples, model)
    with run.claimed(settings):
        if run.is_done:  # another process has finished it in the meantime
            return _finished(run, settings)
        _fit(task, model, examples, run, progress)
        run.finish(model, settings)
    return model


def _finished(run, settings):
    """Returns the model of a finished run."""
    run.check(settings)
    run.tidy()
    return run.load_model()


def _fit(task, model, examples, run, progress):
    trainer = task.trainer(model)
    log = TrainingLog(run.history)
    backup = Backup(run.backup, task.settings(), log)
    epoch = backup.restore(trainer)
    batches = task.batches(examples)
    bar = TrainingBar(task.steps, epoch * task.steps_per_epoch, progress)
    callbacks = [
        batches.follow,
        keras.callbacks.TerminateOnNaN(),
        log,
        bar,
        backup,
        *task.callbacks(model),
    ]
    with bar:
        trainer.fit(
            untuned(batches),
            epochs=task.steps // task.steps_per_epoch,
            initial_epoch=epoch,
            callbacks=callbacks,
            shuffle=False,  # `batches` are shuffled; Keras has a global seed
            verbose=0,
        )
    values = (ops.convert_to_numpy(w) for w in model.weights)
    if not log.is_finite or not all(np.isfinite(v).all() for v in values):
        raise FloatingPointError(
            "The loss became NaN or infinite; no model was saved. "
            "Delete the folder and try a lower learning rate. "
            f"Received: learning_rate={task.learning_rate}"
        )
