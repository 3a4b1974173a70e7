import errno
import os
import pathlib
import resource
import signal
import subprocess
import sys

import pytest

from su_models.utils import files
from su_models.utils.files import (
    leftovers,
    locked,
    replacing,
    replacing_folder,
    sweep,
    write_bytes,
)

ROOT = pathlib.Path(__file__).parent.parent.parent

# a process that needs no Keras, and what kills it
START = """
import os, pathlib, signal, sys, types
package = types.ModuleType("su_models")
package.__path__ = [sys.argv[1] + "/su_models"]
sys.modules["su_models"] = package
from su_models.utils import files
path = pathlib.Path(sys.argv[2])
def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def process(code, path):
    command = [sys.executable, "-c", START + code, str(ROOT), str(path)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def killed(code, path):
    run = process(code, path)
    run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- files


def test_failure_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        with replacing(path) as new:
            new.write_text("half")
            raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_success_replaces_and_keeps_the_ending(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with replacing(str(path)) as new:
        assert new.name.endswith("model.keras") and new != path
        assert path.read_text() == "old"
        new.write_text("new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_two_writers_do_not_write_into_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_killed_writer_leaves_the_old_file_and_sweep_its_leftover(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    (tmp_path / ".new-notes").write_text("mine")
    killed("os.fsync = die\nfiles.write_bytes(path, b'new')", path)
    assert path.read_text() == "old"
    assert len(leftovers(tmp_path)) == 1
    sweep(tmp_path)
    assert names(tmp_path) == [".new-notes", "a.txt"]


def test_written_files_have_the_usual_rights(tmp_path):
    (tmp_path / "usual").touch()
    write_bytes(tmp_path / "a.bin", b"\0\1")
    assert (tmp_path / "a.bin").read_bytes() == b"\0\1"
    modes = [(tmp_path / n).stat().st_mode for n in ("usual", "a.bin")]
    assert modes[0] == modes[1]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=f"'{path}'") as caught:
            write_bytes(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


# ---- locks


def test_a_lock_is_held_once_and_leaves_no_file(tmp_path):
    path = tmp_path / "lock"
    with locked(path, "runs/a"):
        with pytest.raises(BlockingIOError, match="Received: runs/a"):
            with locked(path, "runs/a"):
                pass
        assert names(tmp_path) == ["lock"]
    assert names(tmp_path) == []
    with locked(path, "runs/a"):
        pass


def test_a_lock_of_another_process_ends_when_that_is_killed(tmp_path):
    path = tmp_path / "lock"
    other = process(
        "with files.locked(path, 'runs/a'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()",
        path,
    )
    with other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            with locked(path, "runs/a"):
                pass
        other.kill()
    with locked(path, "runs/a"):
        assert path.exists()
    assert names(tmp_path) == []


# ---- folders


def accept(path):
    """A check that every folder passes."""


def fill(path, text, check=accept):
    with replacing_folder(path, check) as new:
        new.mkdir()
        (new / "a.txt").write_text(text)


def text(path):
    return (path / "a.txt").read_text()


FILL = """
def fill(text):
    with files.replacing_folder(path, lambda path: None) as new:
        new.mkdir()
        (new / "a.txt").write_text(text)
"""


@pytest.fixture(params=["in one step", "in two steps"])
def steps(request, monkeypatch):
    if request.param == "in two steps":
        monkeypatch.setattr(files, "exchange", lambda a, b: False)
        return "files.exchange = lambda a, b: False\n"
    return ""


def test_a_folder_is_replaced_whole(tmp_path, steps):
    path = tmp_path / "new" / "folder"
    fill(path, "first")
    (path / "left over").touch()
    fill(path, "second")
    assert text(path) == "second" and names(path) == ["a.txt"]
    assert names(path.parent) == ["folder"]


def test_failure_leaves_the_old_folder(tmp_path, steps):
    path = tmp_path / "folder"
    fill(path, "first")
    with pytest.raises(RuntimeError, match="half way"):
        with replacing_folder(path, accept) as new:
            new.mkdir()
            raise RuntimeError("half way")
    assert text(path) == "first" and names(tmp_path) == ["folder"]


def test_a_folder_that_must_stay_stays(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()

    def reject(existing):
        raise ValueError(f"Received: {existing}")

    with pytest.raises(ValueError, match=f"Received: {path}"):
        fill(path, "new", reject)
    assert names(tmp_path) == ["folder"] and names(path) == []


def test_two_writers_of_a_folder_are_one_too_many(tmp_path):
    path = tmp_path / "folder"
    with replacing_folder(path, accept) as new:
        new.mkdir()
        with pytest.raises(BlockingIOError, match=f"Received: {path}"):
            fill(path, "second")
        (new / "a.txt").write_text("first")
    assert text(path) == "first" and names(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    "moment",
    [
        # nothing is written
        "make = files.tempfile.mkdtemp\n"
        "files.tempfile.mkdtemp = lambda **more: die(make(**more))",
        "pathlib.Path.write_text = die",  # half is
        "files.exchange = die",  # all is
        "files.shutil.rmtree = die",  # and in its place, or not yet
    ],
)
def test_kills_leave_the_old_folder_or_the_new_one(tmp_path, moment, steps):
    path = tmp_path / "folder"
    fill(path, "old")
    killed(f"{FILL}\n{steps}{moment}\nfill('new')", path)
    assert text(path) == ("new" if "rmtree" in moment else "old")
    assert len(names(tmp_path)) > 1  # what the killed one left
    fill(path, "newer")
    assert text(path) == "newer" and names(tmp_path) == ["folder"]


BETWEEN = """
rename = pathlib.Path.rename
def renamed(self, target):
    die() if self.name == "new" else rename(self, target)
pathlib.Path.rename = renamed
"""


def test_a_kill_between_two_renames_is_mended_by_the_next(tmp_path, steps):
    path = tmp_path / "folder"
    fill(path, "old")
    killed(f"{FILL}\n{BETWEEN}\nfiles.exchange = lambda *a: False\nfill('new')",
           path)  # fmt: skip
    assert not path.exists()
    with pytest.raises(RuntimeError, match="the next fails too"):
        with replacing_folder(path, accept):
            raise RuntimeError("the next fails too")
    assert text(path) == "old" and names(tmp_path) == ["folder"]


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_exchanging_leaves_no_moment_without_the_folder(tmp_path):
    path = tmp_path / "folder"
    fill(path, "old")
    killed(f"{FILL}\n{BETWEEN}\npathlib.Path.rename = die\n"
           "files.shutil.rmtree = die\nfill('new')", path)  # fmt: skip
    assert text(path) == "new"


def test_folders_of_others_are_not_swept(tmp_path):
    for name in (".folder.mybackup", ".folder.bak", ".other.abcdefgh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    fill(tmp_path / "folder", "new")
    assert names(tmp_path) == [
        ".folder.bak",
        ".folder.mybackup",
        ".other.abcdefgh",
        "folder",
    ]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "folder"
    with pytest.raises(OSError, match=f"cannot be written.*path={path}"):
        fill(path, "new")
    assert os.listdir(tmp_path) == ["file"]
