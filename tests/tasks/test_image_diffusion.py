"""Article: https://kexue.fm/archives/9152"""

import itertools
import json
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from matplotlib import image as image_files

from su_models.optimizers import Lookahead
from su_models.tasks import image_diffusion
from su_models.tasks.image_diffusion import ImageDiffusion

TINY = {
    "steps": 6,
    "steps_per_epoch": 2,
    "batch_size": 16,
    "blocks": 1,
    "stride": 250,
}


def tiny(**more):
    return ImageDiffusion(**{**TINY, **more})


def weights(network):
    return [keras.ops.convert_to_numpy(w) for w in network.weights]


def assert_equal(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, tiny().train(folder, progress=False)


def test_a_run_leaves_its_files(run):
    folder, network = run
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "history.csv", "model.keras"]
    assert image_diffusion.read_config(folder) == tiny()
    assert_equal(image_diffusion.load_network(folder), network)


def test_a_finished_run_is_loaded_not_trained_again(run):
    folder, network = run
    before = (folder / "model.keras").stat().st_mtime_ns
    assert_equal(tiny().train(folder, progress=False), network)
    assert (folder / "model.keras").stat().st_mtime_ns == before


@pytest.mark.slow
def test_same_seed_same_weights(run, tmp_path):
    assert_equal(tiny().train(tmp_path, progress=False), run[1])
    other = tiny(seed=1).train(tmp_path / "other", progress=False)
    moved = zip(weights(other), weights(run[1]), strict=True)
    assert any((a != b).any() for a, b in moved)


@pytest.mark.parametrize("stop", [1, 3])
def test_interrupted_training_goes_on_to_the_same_weights(
    run, tmp_path, stop, monkeypatch
):
    fit, begun = keras.Model.fit, []

    def recorded(self, *args, initial_epoch, **kwargs):
        begun.append(initial_epoch)
        return fit(self, *args, initial_epoch=initial_epoch, **kwargs)

    def interrupted(self, *args, callbacks, **kwargs):
        steps = itertools.count(1)

        def count(batch, logs):
            if next(steps) == stop:
                raise KeyboardInterrupt

        bomb = keras.callbacks.LambdaCallback(on_train_batch_end=count)
        return fit(self, *args, callbacks=[*callbacks, bomb], **kwargs)

    monkeypatch.setattr(keras.Model, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny().train(tmp_path, progress=False)
    assert not (tmp_path / "model.keras").exists()
    monkeypatch.setattr(keras.Model, "fit", recorded)
    assert_equal(tiny().train(tmp_path, progress=False), run[1])
    assert begun == [(stop - 1) // 2]  # not from the start
    epochs, _, seconds = image_diffusion.history(tmp_path)
    assert epochs.tolist() == [0, 1, 2] and (np.diff(seconds) > 0).all()


KILLED = """
import sys, keras
from su_models.tasks.image_diffusion import ImageDiffusion
fit = keras.Model.fit
def recorded(self, *args, initial_epoch, **kwargs):
    print("began with epoch", initial_epoch)
    return fit(self, *args, initial_epoch=initial_epoch, **kwargs)
keras.Model.fit = recorded
config = ImageDiffusion(
    steps=600, steps_per_epoch=20, batch_size=16, blocks=1
)
config.train(sys.argv[1], progress=False)
"""


@pytest.mark.slow
def test_training_survives_kill_9(tmp_path):
    def start(name):
        command = [sys.executable, "-W", "ignore", "-c", KILLED]
        command.append(str(tmp_path / name))
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    killed = start("killed")
    backup = tmp_path / "killed" / "backup.weights.h5"
    while not backup.exists():
        assert killed.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    time.sleep(0.2)  # somewhere within an epoch, or within a backup
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.keras").exists()
    for name, resumed in ("killed", True), ("whole", False):
        process = start(name)
        said = process.communicate()[0]
        assert process.returncode == 0
        assert ("began with epoch 0" not in said) == resumed
    a, b = (
        image_diffusion.load_network(tmp_path / name)
        for name in ("killed", "whole")
    )
    assert_equal(a, b)


def test_drawn_picture_shows_samples_beside_real_images(run, tmp_path):
    _, network = run
    config = tiny()
    config.draw(network, tmp_path / "samples.png", seed=3, columns=4)
    pixels = image_files.imread(tmp_path / "samples.png")[..., 0]
    real = config.images()[:16]
    assert pixels.shape == (4 * 34, 4 * 34 * 2 + 16)
    shown = pixels[1:33:4, 4 * 34 + 17 :: 4][:, :8]  # the first real image
    np.testing.assert_allclose(shown, (real[0, ..., 0] + 1) / 2, atol=0.01)
    made = config.sampler.sample(network, 16, seed=3, batch_size=100)
    shown = pixels[1:33:4, 1:33:4]
    expected = (np.clip(made[0, ..., 0], -1, 1) + 1) / 2
    np.testing.assert_allclose(shown, expected, atol=0.01)


def test_training_curve_is_a_picture(run):
    folder, _ = run
    image_diffusion.draw_training(folder)
    assert image_files.imread(folder / "training.png").ndim == 3
    (folder / "training.png").unlink()


def test_settings_are_scaled_to_the_range():
    digits = tiny().images()
    assert digits.min() == -1 and digits.max() == 1
    assert digits.shape == (1200, 8, 8, 1) and digits.dtype == "float32"
    for white in (16, 255):  # the scale is the set's, not the picture's
        dark = image_diffusion.scaled(np.array([0, 4], "uint8"), white)
        np.testing.assert_allclose(dark, [-1, 8 / white - 1], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(tmp_path, value):
    images = tiny().images()
    images[3, 2, 1, 0] = value
    with pytest.raises(ValueError, match="Received: 1 of 76800 entries"):
        tiny().train(tmp_path, images, progress=False)


def test_a_folder_that_cannot_be_written_fails_before_training(
    tmp_path, monkeypatch
):
    def fit(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(keras.Model, "fit", fit)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="file"):
        tiny().train(tmp_path / "file" / "run", progress=False)


def test_another_run_in_the_folder_is_refused(run):
    with pytest.raises(ValueError, match="other settings.* Received: folder="):
        tiny(seed=5).train(run[0], progress=False)


def test_a_loss_that_is_not_finite_saves_nothing(tmp_path):
    with pytest.raises(FloatingPointError, match="Received: learning_rate"):
        tiny(learning_rate=1e36).train(tmp_path, progress=False)
    # nor does a second try take it for done
    with pytest.raises(FloatingPointError, match="Received: learning_rate"):
        tiny(learning_rate=1e36).train(tmp_path, progress=False)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert "model.keras" not in names and "backup.weights.h5" not in names


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_damaged_networks_are_refused(run, tmp_path, damage):
    whole = (run[0] / "model.keras").read_bytes()
    half = whole[: len(whole) // 2] if damage == "cut" else b"no model"
    (tmp_path / "model.keras").write_bytes(half)
    with pytest.raises(ValueError, match=r"damaged. Received: .*model.keras"):
        image_diffusion.load_network(tmp_path)


def test_untrained_runs_and_strange_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="train it first. Received: "):
        image_diffusion.load_network(tmp_path)
    with pytest.raises(ValueError, match="no config.json. Received: "):
        image_diffusion.read_config(tmp_path)
    for text in ("{", json.dumps({"stepz": 3}), json.dumps({"steps": 0})):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match="cannot be read. Received: "):
            image_diffusion.read_config(tmp_path)


@pytest.mark.parametrize("name", ["steps", "batch_size", "steps_per_epoch"])
def test_bad_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f"Received: {name}=0"):
        tiny(**{name: 0})


@pytest.mark.parametrize(
    "field, value",
    [
        ("seed", -1),
        ("seed", 2**31),
        ("steps", 4.0),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("ema_momentum", 1.0),
        ("data", "minst"),
        ("eta", -1.0),
        ("stride", 0),
        ("spacing", "x"),
    ],
)
def test_bad_settings_are_refused_at_once(field, value):
    with pytest.raises(ValueError, match=f"Received: .*{field}="):
        tiny(**{field: value})


@pytest.mark.parametrize(
    "more", [{"preset": "x"}, {"dropout": 2.0}, {"blocks": 0}]
)
def test_settings_the_network_refuses_leave_nothing(tmp_path, more):
    with pytest.raises(ValueError, match="Received: "):
        tiny(**more).train(tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "images, match",
    [
        (np.zeros((4, 9, 9, 1), "float32"), r"Received: shape=\(4, 9, 9, 1\)"),
        (np.zeros((0, 8, 8, 1), "float32"), r"Received: shape=\(0, 8, 8, 1\)"),
        (np.zeros((4, 8, 8, 1), "uint8"), "Received: dtype=uint8"),
        (np.full((4, 8, 8, 1), 255.0), "largest=255"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, images, match):
    with pytest.raises(ValueError, match=match):
        tiny().train(tmp_path, images, progress=False)


def test_trained_with_lookahead_around_an_averaging_adam():
    config = tiny(steps=100, steps_per_epoch=100, ema_momentum=0.9)
    optimizer = config._optimizer()
    adam = optimizer.inner_optimizer
    assert isinstance(optimizer, Lookahead) and optimizer.sync_period == 5
    assert adam.use_ema and adam.ema_momentum == 0.9
    rate = adam._learning_rate
    rates = [float(keras.ops.convert_to_numpy(rate(n))) for n in (0, 10, 100)]
    np.testing.assert_allclose(rates, [0, 2e-3, 4e-5], rtol=1e-3, atol=1e-9)


def test_sampler_and_network_are_as_set():
    config = tiny(stride=100, eta=0.5, spacing="leading", dropout=0.25)
    sampler = config.sampler
    assert (sampler.stride, sampler.eta) == (100, 0.5)
    assert sampler.spacing == "leading" and sampler.is_random
    layers = [type(layer).__name__ for layer in config._network().layers]
    assert layers.count("Dropout") == 1  # one block


@pytest.mark.slow
def test_the_network_that_is_left_is_the_average(tmp_path):
    averaged = tiny(ema_momentum=0.999).train(tmp_path / "a", progress=False)
    last = tiny(ema_momentum=0.0).train(tmp_path / "b", progress=False)
    moved = zip(weights(averaged), weights(last), strict=True)
    assert any(np.abs(a - b).max() > 1e-6 for a, b in moved)


def test_epochs_must_fill_the_training():
    with pytest.raises(ValueError, match="Received: steps=7"):
        tiny(steps=7)
