"""Article: https://kexue.fm/archives/9152"""

import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from su_models.optimizers import Lookahead
from su_models.runs import RunFolder
from su_models.tasks import ImageDiffusion, load_task
from tests.runs.line import assert_equal, names, weights

TINY = {
    "steps": 6,
    "steps_per_epoch": 2,
    "batch_size": 16,
    "blocks": 1,
    "stride": 250,
}


def tiny(**more):
    return ImageDiffusion(**{**TINY, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, tiny().train(folder, progress=False)


def test_a_run_leaves_its_files(run):
    folder, network = run
    assert names(folder) == ["config.json", "history.csv", "model.keras"]
    assert load_task(folder) == tiny()
    assert_equal(RunFolder(folder).load_model(), network)
    assert_equal(tiny().train(folder, progress=False), network)


@pytest.mark.slow
def test_same_seed_same_weights(run, tmp_path):
    assert_equal(tiny().train(tmp_path, progress=False), run[1])
    other = tiny(seed=1).train(tmp_path / "other", progress=False)
    moved = zip(weights(other), weights(run[1]), strict=True)
    assert any((a != b).any() for a, b in moved)


def test_interrupted_training_goes_on_to_the_same_weights(
    run, tmp_path, monkeypatch
):
    def interrupted(task, model):
        def step(batch, logs):
            if next(steps) == 3:
                raise KeyboardInterrupt

        steps = iter(range(1, 9))
        return [keras.callbacks.LambdaCallback(on_train_batch_end=step)]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ImageDiffusion, "callbacks", interrupted)
        tiny().train(tmp_path, progress=False)
    assert "backup.bin" in names(tmp_path)
    assert_equal(tiny().train(tmp_path, progress=False), run[1])


KILLED = """
import sys, keras
from su_models.tasks import ImageDiffusion
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
    backup = tmp_path / "killed" / "backup.bin"
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
        RunFolder(tmp_path / name).load_model() for name in ("killed", "whole")
    )
    assert_equal(a, b)


@pytest.mark.parametrize(
    "field, value",
    [
        ("blocks", 0),
        ("num_steps", 2.0),
        ("ema_momentum", 1.0),
        ("sync_period", True),
        ("slow_step_size", 1.5),
        ("dropout", 5),
        ("dropout", float("nan")),
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
    layers = [type(layer).__name__ for layer in config.build().layers]
    assert layers.count("Dropout") == 1  # one block


@pytest.mark.slow
def test_the_network_that_is_left_is_the_average(tmp_path):
    averaged = tiny(ema_momentum=0.999).train(tmp_path / "a", progress=False)
    last = tiny(ema_momentum=0.0).train(tmp_path / "b", progress=False)
    moved = zip(weights(averaged), weights(last), strict=True)
    assert any(np.abs(a - b).max() > 1e-6 for a, b in moved)


def test_a_loss_that_is_not_finite_saves_nothing(tmp_path):
    with pytest.raises(FloatingPointError, match="Received: learning_rate"):
        tiny(learning_rate=1e36, steps=2).train(tmp_path, progress=False)
    assert not {"model.keras", "backup.bin"} & {*names(tmp_path)}


def test_samples_are_the_sampler_s(run):
    made = tiny().sampler.sample(run[1], 3, seed=3, batch_size=100)
    np.testing.assert_array_equal(tiny().sample(run[1], 3, seed=3), made)
