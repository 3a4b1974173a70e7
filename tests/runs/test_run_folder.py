import io
import json
import zipfile

import keras
import numpy as np
import pytest

from su_models.runs import run_folder
from su_models.runs.run_folder import RunFolder
from tests.runs.line import assert_equal, names

SETTINGS = {"task": "line", "steps": 6, "batch_size": 4, "seed": 0}
OTHER = {**SETTINGS, "seed": 1}


def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.fixture
def done(tmp_path):
    """A finished run."""
    run = RunFolder(tmp_path)
    with run.claimed(SETTINGS):
        run.finish(model(), SETTINGS)
    return run


def test_a_finished_run_gives_its_model_back(done):
    assert names(done.path) == ["config.json", "model.keras"]
    assert done.settings() == SETTINGS
    again = RunFolder(str(done.path)).load_model()
    assert_equal(again, RunFolder(done.path).load_model())
    assert again.count_params() == 15


def test_keras_reads_the_model_without_us(done):
    assert keras.saving.load_model(done.model).count_params() == 15


def test_settings_are_those_of_the_folder(done):
    done.check(SETTINGS)
    with pytest.raises(ValueError, match="other settings.* Received: folder="):
        done.check(OTHER)


def test_without_its_config_a_finished_run_is_known_by_its_model(done):
    done.config.unlink()
    with pytest.raises(ValueError, match="other settings"):
        done.check(OTHER)
    done.check(SETTINGS)
    done.tidy()
    assert done.settings() == SETTINGS
    assert names(done.path) == ["config.json", "model.keras"]


def test_a_config_beside_the_model_of_another_run_is_refused(done):
    done.config.write_text(json.dumps(OTHER))
    for settings in SETTINGS, OTHER:
        with pytest.raises(ValueError, match="other settings"):
            done.check(settings)


def test_a_model_of_nobody_knows_which_run_is_refused(tmp_path):
    model().save(tmp_path / "model.keras")
    run = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="no config.json that says"):
        run.check(SETTINGS)
    # as version 0.1 left its runs
    run.config.write_text(json.dumps(SETTINGS))
    run.check(SETTINGS)
    run.config.write_text(json.dumps({"steps": 6, "batch_size": 4, "seed": 0}))
    run.check({**SETTINGS, "task": "image-diffusion"})


def test_a_config_beside_which_nothing_began_is_replaced(tmp_path):
    for settings in OTHER, SETTINGS:
        with RunFolder(tmp_path).claimed(settings):
            assert RunFolder(tmp_path).settings() == settings
    (tmp_path / "history.csv").write_text("epoch,loss,seconds\n")
    with pytest.raises(ValueError, match="other settings"):
        with RunFolder(tmp_path).claimed(OTHER):
            pass


@pytest.mark.parametrize("text", ['{"name": "my program"}', "[1]", "{"])
def test_a_config_of_somebody_else_is_left_alone(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="not belong|cannot be read"):
        with RunFolder(tmp_path).claimed(SETTINGS):
            pass
    assert (tmp_path / "config.json").read_text() == text


def test_only_one_holds_the_folder(tmp_path):
    run, other = RunFolder(tmp_path), RunFolder(tmp_path)
    with run.claimed(SETTINGS):
        with pytest.raises(BlockingIOError, match="Received: folder="):
            with other.claimed(SETTINGS):
                pass
        with run.held():  # who holds it may
            run.write("a.txt", b"mine")
    with other.claimed(SETTINGS):
        pass
    assert names(tmp_path) == ["a.txt", "config.json"]


def test_what_killed_processes_left_is_removed(done):
    for name in (".new-0123abcd-model.keras", "backup.bin", ".lock"):
        (done.path / name).write_text("of a dead process")
    with done.held():
        RunFolder(done.path).tidy()  # another is at work: nothing happens
        assert (done.path / "backup.bin").exists()
    RunFolder(done.path).tidy()
    assert names(done.path) == ["config.json", "model.keras"]
    done.lock.touch()  # and that alone
    done.tidy()
    assert names(done.path) == ["config.json", "model.keras"]
    (done.path / ".new-0123abcd-backup.bin").touch()
    with done.claimed(SETTINGS):
        assert not [n for n in names(done.path) if n.startswith(".new")]


def test_a_finished_run_is_read_where_nothing_can_be_written(done, monkeypatch):
    done.backup.touch()

    def held(*arguments):
        raise PermissionError("read-only")

    monkeypatch.setattr(run_folder, "locked", held)
    done.tidy()
    assert done.load_model().count_params() == 15


def test_every_flipped_byte_of_the_model_is_noticed_or_harmless(done):
    whole, first = done.model.read_bytes(), done.load_model()
    weights = zipfile.ZipFile(done.model).getinfo("model.weights.h5")
    places = weights.header_offset + 100 + np.arange(0, weights.file_size, 997)
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 16
        done.model.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged. Received: .*keras"):
            done.load_model()
    done.model.write_bytes(whole)
    assert_equal(first, done.load_model())


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other zip"])
def test_damaged_models_are_refused(done, damage):
    whole = done.model.read_bytes()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "no model")
    content = {
        "cut": whole[: len(whole) // 2],
        "text": b"no model",
        "empty": b"",
        "other zip": other.getvalue(),
    }
    done.model.write_bytes(content[damage])
    with pytest.raises(ValueError, match=r"damaged. Received: .*model.keras"):
        done.load_model()


def test_untrained_runs_and_strange_folders_are_refused(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="train it first. Received: "):
        run.load_model()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="no config.json. Received: "):
            RunFolder(folder).settings()
    run.config.write_text("{")
    with pytest.raises(ValueError, match="cannot be read. Received: "):
        run.settings()


def test_a_model_on_a_full_disk_leaves_the_run_as_it_was(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    with run.claimed(SETTINGS):
        run.backup.touch()
        before = names(tmp_path)
        monkeypatch.setattr(run_folder, "write_bytes", full)
        with pytest.raises(OSError, match="No space left.*model.keras"):
            run.finish(model(), SETTINGS)
        assert names(tmp_path) == before
