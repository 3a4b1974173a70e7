"""Backups from which a killed training resumes."""

import itertools
import pathlib

import keras

from su_models.runs.sealed import seal, unseal
from su_models.utils.files import write_bytes


class Backup(keras.callbacks.Callback):
    """Saves the whole state of training after each epoch, in one file.

    With `keras.callbacks.BackupAndRestore`, a resumed training that draws
    random numbers differs from an uninterrupted one, since Keras does not save
    the state of a `SeedGenerator`. This file contains these states, the
    weights, the state of the optimizers, the log, and the settings of the
    run, all under one hash. It is replaced by a rename, so it always holds one
    complete epoch. Numbers that are not finite are not backed up.

    Args:
        path: the file.
        settings: JSON-serializable dict; a backup with other settings is
            rejected.
        log: the `TrainingLog` of this training, which must precede this
            callback in the list of callbacks.
    """

    def __init__(self, path, settings, log):
        super().__init__()
        self.path = pathlib.Path(path)
        self.settings = settings
        self.log = log

    def restore(self, model):
        """Loads the state, if the file exists.

        Args:
            model: a built and compiled `keras.Model`. Optimizers in its
                attributes other than `optimizer` must be built.

        Returns:
            The epoch to resume with, for `fit(initial_epoch=...)`.

        Raises:
            ValueError: if the file is damaged, or belongs to a run with other
                settings or to another model. The model is then not changed.
        """
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            facts, arrays = unseal(self.path.read_bytes())
            if facts["settings"] != self.settings:
                raise ValueError("it is of a run with other settings")
            variables = _state(model)
            _check_shapes(variables, arrays)
        except (OSError, ValueError) as error:
            raise ValueError(
                "The backup of the interrupted training does not fit this "
                "run or is damaged; delete it to start again. "
                f"Received: {self.path} ({error})"
            ) from error
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.log.rows = facts["rows"]
        return facts["epoch"]

    def on_epoch_end(self, epoch, logs=None):
        if not self.log.is_finite:
            return
        facts = {
            "settings": self.settings,
            "epoch": epoch + 1,
            "rows": self.log.rows,
        }
        values = map(keras.ops.convert_to_numpy, _state(self.model))
        write_bytes(self.path, seal(facts, list(values)))


def _state(model):
    """Returns the variables that the next epoch depends on.

    These are weights, states of random generators, and states of optimizers.
    Metrics are reset in each epoch.
    """
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [v for v in model.variables if id(v) not in metrics]
    variables += _of_optimizers(model)
    return list({id(v): v for v in variables}.values())


def _of_optimizers(owner):
    """Returns the variables of optimizers in the attributes, at any depth."""
    variables = []
    for value in vars(owner).values():
        if isinstance(value, keras.optimizers.Optimizer):
            variables += value.variables + _of_optimizers(value)
    return variables


def _check_shapes(variables, arrays):
    """Rejects arrays whose shapes differ from those of the variables."""
    pairs = itertools.zip_longest(
        (tuple(variable.shape) for variable in variables),
        (array.shape for array in arrays),
    )
    wrong = [i for i, (wanted, given) in enumerate(pairs) if wanted != given]
    if wrong:
        raise ValueError(
            f"number {wrong[0]} of its {len(arrays)} arrays does not fit the "
            f"{len(variables)} variables of this model"
        )
