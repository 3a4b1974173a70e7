"""Training that survives being killed at any moment."""

import pathlib

import h5py
import keras

from su_models.tasks.files import replacing

STATES = "random_states"


class Backup(keras.callbacks.Callback):
    """Saves the whole state of training after each epoch, in one file.

    Differs from `keras.callbacks.BackupAndRestore`, with which a training
    that draws random numbers does not go on as it was: Keras saves no state
    of a `SeedGenerator`. This file holds them too. And that callback writes
    weights and epoch to two files, in place, so that a kill between them
    resumes at the wrong epoch: here the epoch follows from the optimizer's
    iterations, and the one file appears by a rename.

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
            with h5py.File(self.path) as file:
                states = file[STATES]
                for i, variable in enumerate(_random_states(model)):
                    variable.assign(states[str(i)][()])
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
            with h5py.File(new, "a") as file:
                for i, variable in enumerate(_random_states(self.model)):
                    state = keras.ops.convert_to_numpy(variable)
                    file.create_dataset(f"{STATES}/{i}", data=state)


def _random_states(model):
    """Returns the states of random generators: variables, but no weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights]
