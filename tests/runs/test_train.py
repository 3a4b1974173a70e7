import itertools
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from su_models.runs.run_folder import RunFolder
from su_models.runs.training_log import read_history
from tests.runs.line import Line, assert_equal, names, weights

DONE = ["config.json", "history.csv", "model.keras"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "line"
    return folder, Line().train(folder, progress=False)


@pytest.fixture
def begun(monkeypatch):
    """The epochs with which trainings began."""
    fit, found = keras.Model.fit, []

    def recorded(self, *args, initial_epoch, **kwargs):
        found.append(initial_epoch)
        return fit(self, *args, initial_epoch=initial_epoch, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", recorded)
    return found


def stop_after(steps):
    """Returns a task that is interrupted."""

    class Stopped(Line):
        def callbacks(self, model):
            count = itertools.count(1)

            def step(batch, logs):
                if next(count) == steps:
                    raise KeyboardInterrupt

            return [keras.callbacks.LambdaCallback(on_train_batch_end=step)]

    return Stopped()


def test_a_run_leaves_its_files(run):
    folder, model = run
    assert names(folder) == DONE
    assert RunFolder(folder).settings() == Line().settings()
    assert_equal(RunFolder(folder).load_model(), model)
    columns = read_history(folder)
    assert [*columns] == ["epoch", "loss", "mae", "seconds"]
    assert columns["epoch"].tolist() == [0, 1, 2]
    assert (np.diff(columns["seconds"]) > 0).all()


def test_a_finished_run_is_loaded_not_trained_again(run, begun):
    folder, model = run
    before = (folder / "model.keras").stat().st_mtime_ns
    assert_equal(Line().train(folder, progress=False), model)
    assert (folder / "model.keras").stat().st_mtime_ns == before
    assert begun == [] and names(folder) == DONE


def test_same_seed_same_weights(run, tmp_path):
    assert_equal(Line().train(tmp_path / "a", progress=False), run[1])
    other = Line(seed=1).train(tmp_path / "b", progress=False)
    moved = zip(weights(other), weights(run[1]), strict=True)
    assert any((a != b).any() for a, b in moved)


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_interrupted_training_goes_on_to_the_same_weights(
    run, tmp_path, begun, steps
):
    with pytest.raises(KeyboardInterrupt):
        stop_after(steps).train(tmp_path, progress=False)
    assert not (tmp_path / "model.keras").exists()
    assert_equal(Line().train(tmp_path, progress=False), run[1])
    assert begun == [0, (steps - 1) // 2]  # not from the start
    assert read_history(tmp_path)["epoch"].tolist() == [0, 1, 2]
    assert names(tmp_path) == DONE


def test_all_epochs_done_and_no_model_yet(run, tmp_path, begun, monkeypatch):
    def finish(self, model, settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "finish", finish)
        Line().train(tmp_path, progress=False)
    assert "backup.bin" in names(tmp_path)
    assert_equal(Line().train(tmp_path, progress=False), run[1])
    assert begun == [0, 3] and names(tmp_path) == DONE


KILLED = """
import os, signal, sys
from su_models.utils import files
from tests.runs.line import Line
fsync, written = os.fsync, []
def killing(file):
    fsync(file)
    written.append(file)
    if len(written) == 5:  # settings, and of each epoch history and backup
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killing
Line().train(sys.argv[1], progress=False)
"""


def test_training_killed_while_it_backs_up_goes_on(run, tmp_path, begun):
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [name for name in names(tmp_path) if name.startswith(".new-")]
    assert len(left) == 1 and left[0].endswith("-backup.bin")
    assert len(read_history(tmp_path)["epoch"]) == 2  # one is not backed up
    assert_equal(Line().train(tmp_path, progress=False), run[1])
    assert begun == [1] and names(tmp_path) == DONE
    assert read_history(tmp_path)["epoch"].tolist() == [0, 1, 2]


@pytest.fixture
def interrupted(tmp_path):
    """The folder of a run with a backup of its first epoch."""
    with pytest.raises(KeyboardInterrupt):
        stop_after(3).train(tmp_path, progress=False)
    return tmp_path


@pytest.mark.parametrize("lost", [[], ["history.csv"], ["config.json"],
                                  ["history.csv", "config.json"]])  # fmt: skip
def test_the_backup_of_another_run_is_refused(interrupted, lost):
    for name in lost:
        (interrupted / name).unlink()
    with pytest.raises(ValueError, match="other settings"):
        Line(seed=1).train(interrupted, progress=False)


@pytest.mark.parametrize("lost", [["history.csv"], ["config.json"]])
def test_lost_tables_and_settings_are_written_anew(
    run, interrupted, begun, lost
):
    for name in lost:
        (interrupted / name).unlink()
    assert_equal(Line().train(interrupted, progress=False), run[1])
    assert begun == [1] and names(interrupted) == DONE
    assert read_history(interrupted)["epoch"].tolist() == [0, 1, 2]


def test_a_damaged_backup_is_one_readable_error(interrupted):
    whole = (interrupted / "backup.bin").read_bytes()
    for place in np.random.default_rng(0).integers(len(whole), size=3):
        damaged = bytearray(whole)
        damaged[place] ^= 8
        (interrupted / "backup.bin").write_bytes(damaged)
        with pytest.raises(ValueError, match="delete it to start again"):
            Line().train(interrupted, progress=False)


def test_a_run_that_another_process_trains_is_refused(tmp_path, begun):
    with RunFolder(tmp_path).held():
        with pytest.raises(BlockingIOError, match="Another process"):
            Line().train(tmp_path, progress=False)
    assert begun == [] and names(tmp_path) == []


def test_a_run_that_another_finished_meanwhile_is_loaded(
    run, tmp_path, begun, monkeypatch
):
    class Slow(Line):
        def check_examples(self, examples, model):
            for name in names(run[0]):
                (tmp_path / name).write_bytes((run[0] / name).read_bytes())

    assert_equal(Slow().train(tmp_path, progress=False), run[1])
    assert begun == []


def test_another_run_in_the_folder_is_refused(run):
    with pytest.raises(ValueError, match="other settings.* Received: folder="):
        Line(seed=5).train(run[0], progress=False)


def test_a_folder_that_cannot_be_written_fails_before_training(tmp_path, begun):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="file"):
        Line().train(tmp_path / "file" / "run", progress=False)
    assert begun == []


def test_a_loss_that_is_not_finite_saves_nothing(tmp_path):
    for _ in range(2):  # nor does a second try take it for done
        with pytest.raises(FloatingPointError, match="Received: learning_rate"):
            Line(learning_rate=1e30).train(tmp_path, progress=False)
    assert "model.keras" not in names(tmp_path)
    assert ".lock" not in names(tmp_path)
