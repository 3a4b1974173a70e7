import keras
import numpy as np
import pytest

from su_models.optimizers import Lookahead
from su_models.runs.backup import Backup
from su_models.runs.training_log import TrainingLog
from tests.runs.line import EAGER

SETTINGS = {"task": "line", "seed": 0}


def compiled_model(width=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(width),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(1),
        ]
    )
    adam = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.9)
    model.compile(Lookahead(adam, 3), "mse", metrics=["mae"], run_eagerly=EAGER)
    return model


def backup(folder, settings=SETTINGS):
    log = TrainingLog(folder / "history.csv")
    return Backup(folder / "backup.bin", settings, log)


def fit(model, backup=None, **kwargs):
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    callbacks = [backup.log, backup] if backup else []
    model.fit(
        x, x[:, :1], 4, shuffle=False, verbose=0, callbacks=callbacks, **kwargs
    )


def weights(model):
    return [keras.ops.convert_to_numpy(v) for v in model.variables]


def test_without_a_file_training_starts_at_the_beginning(tmp_path):
    assert backup(tmp_path).restore(compiled_model()) == 0


def test_weights_optimizer_and_random_states_come_back_exactly(tmp_path):
    model = compiled_model()
    fit(model, backup(tmp_path), epochs=3)
    again, restored = compiled_model(), backup(tmp_path)
    # what `fit` leaves are the averages: it goes on from before these
    assert restored.restore(again) == 3
    whole = compiled_model()
    fit(whole, epochs=5)
    fit(again, initial_epoch=3, epochs=5)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_log_goes_on(tmp_path):
    first = backup(tmp_path)
    fit(compiled_model(), first, epochs=2)
    again, model = backup(tmp_path), compiled_model()
    again.restore(model)
    assert again.log.rows == first.log.rows
    fit(model, again, initial_epoch=2, epochs=3)
    assert [row["epoch"] for row in again.log.rows] == [0, 1, 2]
    assert again.log.seconds > first.log.seconds > 0


def refused(folder, match, model=None, settings=SETTINGS):
    """A refusal that leaves the model as it was."""
    model = model or compiled_model()
    before = weights(model)
    with pytest.raises(ValueError, match=rf"Received: .*backup.bin .*{match}"):
        backup(folder, settings).restore(model)
    for a, b in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_damaged_and_foreign_backups_are_refused(tmp_path):
    fit(compiled_model(), backup(tmp_path), epochs=1)
    refused(tmp_path, "other settings", settings={**SETTINGS, "seed": 1})
    refused(tmp_path, "number 0 of its .* arrays", compiled_model(width=5))
    path = tmp_path / "backup.bin"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(damaged)
        refused(tmp_path, "begin|what was written")
    model = compiled_model()
    for place in np.random.default_rng(0).integers(len(whole), size=20):
        damaged = bytearray(whole)
        damaged[place] ^= 64
        path.write_bytes(damaged)
        refused(tmp_path, "begin|what was written", model)


def test_a_backup_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "backup.bin").mkdir()
    refused(tmp_path, "directory")


def test_a_loss_that_is_not_finite_is_not_backed_up(tmp_path):
    callback = backup(tmp_path)
    callback.set_model(compiled_model())
    callback.log.on_train_begin()
    for loss in (float("nan"), float("inf")):
        callback.log.on_epoch_end(0, {"loss": loss})
        callback.on_epoch_end(0, {"loss": loss})
    assert not callback.path.exists()


class Pair(keras.Model):
    """A model with an optimizer beside the usual one, as a GAN has."""

    def __init__(self):
        super().__init__()
        self.one, self.two = keras.layers.Dense(2), keras.layers.Dense(3)
        self.other_optimizer = keras.optimizers.Adam(0.1)

    def build(self, shape):
        self.one.build(shape)
        self.two.build(shape)
        self.other_optimizer.build(self.two.trainable_variables)
        self.built = True


def test_optimizers_beside_the_usual_one_come_back(tmp_path):
    def pair(value):
        model = Pair()
        model.build((None, 4))
        model.compile(keras.optimizers.Adam(0.1))
        model.optimizer.build(model.trainable_variables)
        for variable in model.other_optimizer.variables:
            variable.assign(keras.ops.full(variable.shape, value))
        return model

    callback = backup(tmp_path)
    callback.set_model(pair(3))
    callback.on_epoch_end(0)
    again = pair(0)
    backup(tmp_path).restore(again)
    for variable in again.other_optimizer.variables:
        assert (keras.ops.convert_to_numpy(variable) == 3).all()
