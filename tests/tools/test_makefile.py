"""The targets run their commands, wherever the checkout lies.

A stand-in for Python answers here: it notes its arguments.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent

PYTHON = """#!/bin/sh
echo "$*" "legacy:$SU_MODELS_LEGACY_PYTHON" >>"$CALLS"
"""

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or shutil.which("bash") is None,
    reason="make or bash is not installed",
)


def write_command(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def make(tmp_path):
    """Runs make in a checkout under a path with a space."""
    root = tmp_path / "my checkout"
    (root / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", root)
    for name in ("quiet.sh", "smoke.sh"):
        shutil.copy(ROOT / "tools" / name, root / "tools")
    write_command(root / "tools" / "environment.sh", "#!/bin/sh\n")
    for name in ("examples/one.py", "benchmarks/two.py", "benchmarks/gpu.py"):
        write_command(root / name, "")

    def run(*words, venv=".venv"):
        write_command(root / venv / "bin" / "python", PYTHON)
        return subprocess.run(
            ["make", *words, f"VENV={venv}"],
            cwd=root,
            env={"PATH": os.environ["PATH"], "CALLS": str(tmp_path / "calls")},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("venv", [".venv", "my venv", "absolute"])
@pytest.mark.parametrize(
    ("target", "called"),
    [
        ("test", "-m pytest -q -m not slow"),
        ("parity", "-legacy/bin/python"),
        ("demo", "examples/draw_saved_model.py runs/ddpm-digits"),
        ("bench", "-m benchmarks.two"),
        ("bench", "-legacy/bin/python"),
        ("lint", "-m ruff format --check ."),
        ("lint", "-m codespell_lib"),
        ("articles", "tools/articles.py --write"),
        ("examples-smoke", "my checkout/examples/one.py --smoke"),
    ],
)
def test_path_with_a_space(make, tmp_path, target, called, venv):
    if venv == "absolute":
        venv = str(tmp_path / "other disk" / "venv")
    run = make(target, venv=venv)
    assert run.returncode == 0, run.stderr
    assert called in (tmp_path / "calls").read_text()


def test_bench_leaves_the_gpu_out(make, tmp_path):
    assert make("bench").returncode == 0
    called = (tmp_path / "calls").read_text()
    assert "benchmarks.two" in called and "benchmarks.gpu" not in called


@pytest.mark.parametrize("made_here", [True, False])
def test_clean_removes_only_what_was_made_here(make, tmp_path, made_here):
    venv = tmp_path / "my checkout" / "my venv"
    (venv / ".su_models").mkdir(parents=True)
    (venv / ".su_models" / "test").touch()
    if made_here:
        (venv / ".su_models" / "made-here").touch()
    run = make("clean", venv="my venv")
    assert run.returncode == 0, run.stderr
    assert venv.exists() is not made_here
    assert ("my venv was not made here" in run.stdout) is not made_here
