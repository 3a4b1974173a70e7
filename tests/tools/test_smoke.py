"""Every example runs in a temporary folder; only absent data is excused."""

import pathlib
import shutil
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).parent.parent.parent / "tools"

GOOD = """
import pathlib, sys
assert sys.argv[1:] == ["--smoke"]
pathlib.Path("runs/smoke-ddpm-digits/saved_model").mkdir(parents=True)
print("trained in", pathlib.Path.cwd())
"""
DRAW = """
import pathlib, sys
assert pathlib.Path(sys.argv[1]).is_dir()
print("drawn")
"""
ABSENT = 'import sys; sys.exit("The data set `x` was neither found")'
BROKEN = 'raise FileNotFoundError("model.keras")'

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="bash is not installed"
)


@pytest.fixture
def smoke(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "examples").mkdir()
    for name in ("smoke.sh", "quiet.sh"):
        shutil.copy(TOOLS / name, tmp_path / "tools")

    def run(**examples):
        for name, text in examples.items():
            (tmp_path / "examples" / f"{name}.py").write_text(text)
        return subprocess.run(
            ["bash", tmp_path / "tools" / "smoke.sh", sys.executable],
            capture_output=True,
            text=True,
        )

    return run


def test_examples_run_and_absent_data_is_told(smoke, tmp_path):
    run = smoke(absent=ABSENT, digits=GOOD, draw_saved_model=DRAW)
    assert run.returncode == 0, run.stderr
    assert "SKIPPED absent.py: The data set `x`" in run.stdout
    assert "trained in" in run.stdout
    assert "drawn" in run.stdout
    assert str(tmp_path) not in run.stdout  # and runs/ is not left behind
    assert not (tmp_path / "runs").exists()


def test_failure_of_an_example_is_shown(smoke):
    run = smoke(broken=BROKEN, draw_saved_model=DRAW)
    assert run.returncode == 1
    assert "Traceback" in run.stderr and "model.keras" in run.stderr


def test_failure_to_draw_again_is_shown(smoke):
    run = smoke(digits=GOOD, draw_saved_model=BROKEN)
    assert run.returncode == 1
    assert "model.keras" in run.stderr


def test_without_a_saved_model_nothing_is_drawn_again(smoke):
    run = smoke(digits='print("trained on jax")', draw_saved_model=BROKEN)
    assert run.returncode == 0, run.stderr
    assert "SKIPPED draw_saved_model.py" in run.stdout
