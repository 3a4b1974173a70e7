"""Training that survives being killed at any moment."""

import pathlib
import time

import h5py
import keras
import numpy as np

from su_models.utils.files import replacing

STATES = "random_states"


class Backup(keras.callbacks.Callback):
    """Saves the whole state of training after each epoch, in one file.

    Differs from `keras.callbacks.BackupAndRestore`, with which a training
    that draws random numbers does not go on as it was: Keras saves no state
    of a `SeedGenerator`. This file holds them too. And that callback writes
    weights and epoch to two files, in place, so that a kill between them
    resumes at the wrong epoch: here one file appears by a rename. It keeps
    the seconds of training too. A loss that is not finite is not backed up.

    Args:
        path: where to save; ends in `.weights.h5`.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)
        self.seconds = 0.0

    def restore(self, model):
        """Loads the state, if there is one.

        Args:
            model: a built and compiled `keras.Model`.

        Returns:
            The epoch to go on with, for `fit(initial_epoch=...)`.
        """
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(self.path)
            with h5py.File(self.path) as file:
                states = file[STATES]
                for i, variable in enumerate(_random_states(model)):
                    variable.assign(states[str(i)][()])
                self.seconds = float(file.attrs["seconds"])
                return int(file.attrs["epoch"])
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                "The backup of the interrupted training does not fit this "
                "model or is damaged; delete it to start again. "
                f"Received: {self.path} ({error})"
            ) from error

    def on_train_begin(self, logs=None):
        self.begun = time.monotonic() - self.seconds

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.monotonic() - self.begun
        if not np.isfinite(logs["loss"]):
            return
        with replacing(self.path) as new:
            self.model.save_weights(new, overwrite=True)
            with h5py.File(new, "a") as file:
                for i, variable in enumerate(_random_states(self.model)):
                    state = keras.ops.convert_to_numpy(variable)
                    file.create_dataset(f"{STATES}/{i}", data=state)
                file.attrs["epoch"] = epoch + 1
                file.attrs["seconds"] = self.seconds


def _random_states(model):
    """Returns the states of random generators: variables, but no weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights]
