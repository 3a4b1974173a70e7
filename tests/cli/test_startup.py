import os
import subprocess
import sys

import pytest

import su_models
from su_models.cli.catalog import PACKAGE, rooms
from su_models.cli.startup import load_library, without_startup_lines

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are "
    "written to STDERR",
    "I0000 00:00:1795212420.426245    4591 port.cc:153] oneDNN custom "
    "operations are on.",
    "W0000 00:00:1795212420.427529    4591 cudart_stub.cc:31] Could not find",
    "2025-09-17 14:44:05.157831: I external/local_xla/xla/tsl/x.cc:32] Could",
]
NEWS = [
    "E0000 00:00:1795212791.189752    6425 cuda_platform.cc:52] failed call",
    "a line of the user's own program",
    "W: not a line of TensorFlow's log",
    "I0000 is how it begins, and no more",
]


@pytest.fixture
def level(monkeypatch):
    """An environment without a log level, restored afterwards."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    return monkeypatch


def write(lines):
    for line in lines:
        os.write(2, f"{line}\n".encode())


def test_only_start_up_lines_are_dropped(level, capfd):
    with without_startup_lines():
        write(NOISE[:2] + NEWS + NOISE[2:])
    assert capfd.readouterr().err.splitlines() == NEWS


def test_afterwards_nothing_is_held_back(level, capfd):
    with without_startup_lines():
        pass
    write(NOISE)
    assert capfd.readouterr().err.splitlines() == NOISE


def test_an_error_passes_with_what_was_written_before_it(level, capfd):
    with pytest.raises(ImportError, match="no backend"):
        with without_startup_lines():
            write(NOISE + NEWS)
            raise ImportError("no backend")
    assert capfd.readouterr().err.splitlines() == NEWS
    write(NEWS)
    assert capfd.readouterr().err.splitlines() == NEWS


def test_no_file_stays_open(level):
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc") else []
    for _ in range(3):
        with without_startup_lines():
            pass
    after = os.listdir("/proc/self/fd") if os.path.isdir("/proc") else []
    assert len(after) == len(before)


def test_the_log_level_is_set_unless_the_user_did(level):
    with without_startup_lines():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    level.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_startup_lines():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"


@pytest.mark.parametrize("value", ["0", "1"])
def test_who_wants_to_read_all_lines_does(level, capfd, value):
    level.setenv("TF_CPP_MIN_LOG_LEVEL", value)
    with without_startup_lines():
        write(NOISE)
    assert capfd.readouterr().err.splitlines() == NOISE


def test_the_whole_library_is_loaded():
    assert load_library() is su_models
    assert rooms()
    for room in rooms():
        assert sys.modules[f"su_models.{room}"] is getattr(su_models, room)


def test_a_new_process_loads_it_without_a_word():
    code = (
        "import sys, su_models_command\n"
        "sys.argv[1:] = ['train', 'ddpm-digit']\n"
        "try: su_models_command.main()\n"
        "finally: print(sys.modules['su_models'].layers.ONLSTM.__name__)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
        cwd=PACKAGE.parent,
    )
    assert (done.stdout, done.returncode) == ("ONLSTM\n", 2)
    assert done.stderr.startswith("su-models: unknown run `ddpm-digit`.")
    assert done.stderr.count("\n") == 1
