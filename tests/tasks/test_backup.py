import keras
import numpy as np
import pytest

from su_models.tasks.backup import Backup


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
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def fit(model, callbacks, **kwargs):
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    model.fit(
        x, x[:, :1], 4, shuffle=False, verbose=0, callbacks=callbacks, **kwargs
    )


def test_without_a_file_training_starts_at_the_beginning(tmp_path):
    backup = Backup(tmp_path / "backup.weights.h5")
    assert backup.restore(compiled_model(), 2) == 0


def test_weights_optimizer_and_random_states_come_back_exactly(tmp_path):
    path = tmp_path / "backup.weights.h5"
    model = compiled_model()
    fit(model, [Backup(path)], epochs=3)
    again = compiled_model()
    assert Backup(path).restore(again, steps_per_epoch=2) == 3
    fit(model, [], initial_epoch=3, epochs=5)
    fit(again, [], initial_epoch=3, epochs=5)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_damaged_or_foreign_backups_are_refused(tmp_path, damage):
    path = tmp_path / "backup.weights.h5"
    fit(compiled_model(), [Backup(path)], epochs=1)
    whole = path.read_bytes()
    if damage != "foreign":
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    model = compiled_model(width=5 if damage == "foreign" else 3)
    with pytest.raises(ValueError, match="Received: .*backup.weights.h5"):
        Backup(path).restore(model, 2)
