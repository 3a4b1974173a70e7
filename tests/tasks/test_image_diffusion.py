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


def test_same_seed_same_weights(run, tmp_path):
    assert_equal(tiny().train(tmp_path, progress=False), run[1])
    other = tiny(seed=1).train(tmp_path / "other", progress=False)
    moved = zip(weights(other), weights(run[1]), strict=True)
    assert any((a != b).any() for a, b in moved)


@pytest.mark.parametrize("stop", [1, 3])
def test_interrupted_training_goes_on_to_the_same_weights(
    run, tmp_path, stop, monkeypatch
):
    fit = keras.Model.fit

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
    monkeypatch.undo()
    assert_equal(tiny().train(tmp_path, progress=False), run[1])
    image_diffusion.draw_training(tmp_path)


KILLED = """
import sys
from su_models.tasks.image_diffusion import ImageDiffusion
config = ImageDiffusion(steps=400, steps_per_epoch=20, batch_size=16)
config.train(sys.argv[1], progress=False)
"""


@pytest.mark.slow
def test_training_survives_kill_9(tmp_path):
    def start(name):
        command = [sys.executable, "-W", "ignore", "-c", KILLED]
        return subprocess.Popen([*command, str(tmp_path / name)])

    killed = start("killed")
    backup = tmp_path / "killed" / "backup.weights.h5"
    while not backup.exists():
        assert killed.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    time.sleep(0.7)  # somewhere within an epoch, or within a backup
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.keras").exists()
    assert start("killed").wait() == 0
    assert start("whole").wait() == 0
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
    bytes_ = image_diffusion.scaled(np.array([0, 51, 255], "uint8"))
    np.testing.assert_allclose(bytes_, [-1, -0.6, 1], atol=1e-6)


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
    assert not (tmp_path / "model.keras").exists()


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


def test_epochs_must_fill_the_training():
    with pytest.raises(ValueError, match="Received: steps=7"):
        tiny(steps=7)
