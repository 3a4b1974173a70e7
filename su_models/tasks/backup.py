"""Training that survives being killed at any moment."""

import pathlib

import keras

from su_models.tasks.files import replacing


class Backup(keras.callbacks.Callback):
    """Saves the whole state of training after each epoch, in one file.

    Differs from `keras.callbacks.BackupAndRestore`: that writes weights and
    epoch to two files, in place, so that a kill between them resumes at the
    wrong epoch. Here the epoch follows from the optimizer's iterations, which
    stand in the same file as the weights, and the file appears by a rename.

    Args:
        path: where to save; ends in `.weights.h5`.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def restore(self, model, steps_per_epoch):
        """Loads the state, if there is one.

        Args:
            model: a built and compiled `keras.Model`.
            steps_per_epoch: int. Optimizer steps in an epoch.

        Returns:
            The epoch to go on with, for `fit(initial_epoch=...)`.
        """
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(self.path)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                "The backup of the interrupted training does not fit this "
                "model or is damaged; delete it to start again. "
                f"Received: {self.path} ({error})"
            ) from error
        return int(model.optimizer.iterations) // steps_per_epoch

    def on_epoch_end(self, epoch, logs=None):
        with replacing(self.path) as new:
            self.model.save_weights(new, overwrite=True)
