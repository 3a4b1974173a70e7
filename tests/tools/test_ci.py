"""CI takes its steps in order, and stops at the first that fails."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent

MAKE = """#!/bin/sh
echo "$*" >>"$CALLS"
echo "summary of $*"
test "$*" != "$FAILS"
"""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="bash is not installed"
)


@pytest.fixture
def ci(tmp_path):
    path = tmp_path / "make"
    path.write_text(MAKE)
    path.chmod(0o755)

    def run(fails=""):
        calls = tmp_path / "calls"
        calls.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", ROOT / ".ci" / "run"],
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "CALLS": str(calls),
                "FAILS": fails,
            },
            capture_output=True,
            text=True,
        )
        return done, calls.read_text().splitlines()

    return run


def test_every_backend_runs_its_slow_tests_too(ci):
    run, steps = ci()
    assert run.returncode == 0, run.stderr
    fast = steps.index("test-all BACKENDS=jax torch")
    assert steps.index("test") < steps.index("test-slow BACKEND=tensorflow")
    assert fast < steps.index("test-slow BACKEND=jax")
    assert fast < steps.index("test-slow BACKEND=torch")
    for step in steps:
        assert f"summary of {step}\n" in run.stdout
        assert f"==== make {step}: passed in" in run.stdout


def test_step_that_fails_is_the_last(ci):
    run, steps = ci(fails="test-slow BACKEND=jax")
    assert run.returncode != 0
    assert steps[-1] == "test-slow BACKEND=jax"
    assert "test-slow BACKEND=jax: passed" not in run.stdout


@pytest.mark.parametrize(
    ("given", "beside", "taken"),
    [
        (None, False, ""),
        (None, True, "{parent}/shared/data"),
        ("/given", True, "/given"),
    ],
)
def test_data_beside_the_repository_is_taken(tmp_path, given, beside, taken):
    parent = tmp_path / "my folder"
    script = parent / "repository" / ".ci" / "run"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", script)
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "step reads $SU_MODELS_DATA"\n')
    make.chmod(0o755)
    if beside:
        (parent / "shared" / "data").mkdir(parents=True)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    if given:
        env["SU_MODELS_DATA"] = given
    done = subprocess.run(
        ["bash", script], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    taken = taken.format(parent=parent)
    assert f"SU_MODELS_DATA: {taken or 'not set'}\n" in done.stdout
    steps = [s for s in done.stdout.splitlines() if s.startswith("step reads")]
    assert steps and {*steps} == {f"step reads {taken}"}
