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
    assert backup.restore(compiled_model()) == 0


def test_weights_optimizer_and_random_states_come_back_exactly(tmp_path):
    path = tmp_path / "backup.weights.h5"
    model = compiled_model()
    fit(model, [Backup(path)], epochs=3)
    again = compiled_model()
    assert Backup(path).restore(again) == 3
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
        Backup(path).restore(model)


def test_a_loss_that_is_not_finite_is_not_backed_up(tmp_path):
    path = tmp_path / "backup.weights.h5"
    backup = Backup(path)
    backup.set_model(compiled_model())
    backup.on_train_begin()
    for loss in (float("nan"), float("inf")):
        backup.on_epoch_end(0, {"loss": loss})
    assert not path.exists()


def test_seconds_add_up_over_interruptions(tmp_path):
    path = tmp_path / "backup.weights.h5"
    first = Backup(path)
    fit(compiled_model(), [first], epochs=1)
    again, model = Backup(path), compiled_model()
    again.restore(model)
    assert again.seconds == first.seconds > 0
    fit(model, [again], initial_epoch=1, epochs=2)
    assert again.seconds > first.seconds
