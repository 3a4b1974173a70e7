"""`make` prepares its environment once, and says readably why it cannot.

A stand-in for Python answers here: nothing is installed, no network is asked.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tools" / "environment.sh"

PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) echo "$VERSION" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"-m pip install"*)
        echo "$*" >>"$CALLS"
        if [ -n "$PIP_SAYS" ]; then echo "$PIP_SAYS"; exit 1; fi ;;
esac
"""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="bash is not installed"
)


@pytest.fixture
def prepare(tmp_path):
    """Runs the script with a stand-in for every Python on the path."""
    (tmp_path / "bin").mkdir()
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        path = tmp_path / "bin" / name
        path.write_text(PYTHON)
        path.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}"

    def run(*sets, version="3.12", **more):
        return subprocess.run(
            ["bash", SCRIPT, *sets],
            env={
                "PATH": path,
                "VERSION": version,
                "VENV": str(tmp_path / "venv"),
                "CALLS": str(tmp_path / "calls"),
                "NEEDED_GB": "0",
                **more,
            },
            capture_output=True,
            text=True,
        )

    return run


def calls(tmp_path):
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_installs_once(prepare, tmp_path, version):
    first = prepare("test", "jax", version=version)
    assert first.returncode == 0, first.stderr
    assert len(calls(tmp_path)) == 1
    assert calls(tmp_path)[0].endswith("-e .[test,jax]")
    second = prepare("test", "jax", version=version)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(calls(tmp_path)) == 1


def test_installs_only_what_is_missing(prepare, tmp_path):
    prepare("library")
    prepare("library", "test")
    ends = [call.split(" -e ")[1] for call in calls(tmp_path)]
    assert ends == [".", ".[test]"]


def test_pytorch_comes_first_and_in_the_words_of_the_user(prepare, tmp_path):
    prepare("torch", "parity", TORCH="torch==1 --index-url here")
    first, second, third = calls(tmp_path)
    assert first.endswith("torch==1 --index-url here")
    assert second.endswith("-e .[parity]")
    assert " --no-deps keras-hub==" in third
    prepare("torch", TORCH="torch==2")  # other words: install again
    assert calls(tmp_path)[3].endswith("torch==2")


def test_peers_of_keras_2_come_without_the_library(prepare, tmp_path):
    run = prepare("legacy")
    assert run.returncode == 0, run.stderr
    keras, peers = calls(tmp_path)
    assert keras.endswith("tf_keras==2.21.0")
    assert " --no-deps keras-ordered-neurons==" in peers
    assert prepare("legacy").stdout == "" and len(calls(tmp_path)) == 2


def test_failed_installation_is_tried_again(prepare, tmp_path):
    assert prepare("test", PIP_SAYS="ERROR: broken").returncode == 1
    assert prepare("test").returncode == 0
    assert len(calls(tmp_path)) == 2


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("NewConnectionError: refused", "Is there a network?"),
        ("ERROR: [Errno 28] No space left on device", "disk filled up"),
        ("ERROR: no such thing", "pip could not install: ERROR: no such thing"),
    ],
)
def test_failure_of_pip_is_explained(prepare, tmp_path, said, shown):
    run = prepare("test", PIP_SAYS=said)
    assert run.returncode == 1
    assert shown in run.stderr
    assert str(tmp_path / "venv" / "install.log") in run.stderr
    assert said in (tmp_path / "venv" / "install.log").read_text()


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.14"])
def test_other_versions_of_python_are_refused(prepare, tmp_path, version):
    run = prepare("test", version=version)
    assert run.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in run.stderr
    assert f"python3 is {version}" in run.stderr
    assert not (tmp_path / "venv").exists()


def test_python_that_is_absent_is_refused(prepare):
    run = prepare("test", PYTHON="/no/such/python")
    assert run.returncode == 1
    assert "/no/such/python: found none" in run.stderr


def test_full_disk_is_told_before_installing(prepare, tmp_path):
    run = prepare("test", NEEDED_GB="1000000000")
    assert run.returncode == 1
    assert "needs 1000000000 GB of free disk" in run.stderr
    assert calls(tmp_path) == []


def test_environment_of_somebody_else_is_left_alone(prepare, tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "precious").touch()
    run = prepare("test")
    assert run.returncode == 1
    assert "was not made by this script" in run.stderr
    assert (tmp_path / "venv" / "precious").exists()


def test_broken_environment_of_ours_is_made_anew(prepare, tmp_path):
    prepare("test")
    (tmp_path / "venv" / "bin" / "python").unlink()
    assert prepare("test").returncode == 0
    assert len(calls(tmp_path)) == 2


def test_environment_that_the_user_made_is_used_but_never_removed(
    prepare, tmp_path
):
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "bin" / "python3", python)
    assert prepare("test").returncode == 0
    assert not (tmp_path / "venv" / ".su_models" / "made-here").exists()
    python.unlink()  # unusable now, and still not ours
    run = prepare("test")
    assert run.returncode == 1
    assert "was not made by this script" in run.stderr
    assert (tmp_path / "venv" / "install.log").exists()


def test_environment_that_could_not_be_made_is_tried_again(prepare, tmp_path):
    python = tmp_path / "bin" / "python3"
    python.write_text(PYTHON.replace("mkdir -p", "exit 1; mkdir -p"))
    run = prepare("test")
    assert run.returncode == 1
    assert "could not make a virtual environment" in run.stderr
    python.write_text(PYTHON)
    assert prepare("test").returncode == 0


def test_disk_of_the_environment_is_the_one_looked_at(prepare, tmp_path):
    df = tmp_path / "bin" / "df"
    df.write_text(
        "#!/bin/sh\n"
        'for last; do :; done; echo "$last" >>"$CALLS"\n'
        'echo "Filesystem"; echo "disk 9 9 2097152 0% /"\n'
    )
    df.chmod(0o755)
    disk = tmp_path / "other disk"
    disk.mkdir()
    more = {"VENV": str(disk / "not" / "yet"), "NEEDED_GB": "3"}
    run = prepare("test", **more)
    assert run.returncode == 1
    assert f"{disk} has 2 GB" in run.stderr
    assert calls(tmp_path) == [str(disk)]
    assert not (disk / "not").exists()
    relative = prepare("test", VENV="no-such-folder/venv", NEEDED_GB="3")
    assert f"{ROOT} has 2 GB" in relative.stderr
