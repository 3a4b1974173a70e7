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
