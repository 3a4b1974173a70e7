"""A benchmark runs as `python -m benchmarks.name`, and says what it needs."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NAMES = sorted(path.stem for path in ROOT.glob("benchmarks/*.py"))
OF_TENSORS = [name for name in NAMES if name != "tokenizer"]
BACKENDS = {"gpu": "jax"}  # of those that do not run on TensorFlow
PAGE = ROOT.joinpath("benchmarks/README.md").read_text("utf-8")

# one process for all: most of its time goes into importing
RUN = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = [name, "--smoke"]
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    except SystemExit as end:
        print(f"{name}: {end}")
    else:
        print(f"{name}: ran")
"""


@pytest.mark.parametrize("name", NAMES)
def test_its_command_is_in_its_header_and_on_the_page(name):
    head = ROOT.joinpath(f"benchmarks/{name}.py").read_text("utf-8")
    backend = BACKENDS.get(name, "tensorflow")
    command = f"KERAS_BACKEND={backend} python -m benchmarks.{name}"
    assert f"\n    {command}\n" in head.split('"""')[1]
    assert f"## `{name}.py`" in PAGE and command in PAGE


def test_no_other_command_is_on_the_page():
    assert "python benchmarks/" not in PAGE


@pytest.mark.parity
def test_other_backends_are_rejected():
    pytest.importorskip("torch", reason="peer: torch")
    run = subprocess.run(
        [sys.executable, "-c", RUN, *OF_TENSORS],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    said = [line for line in run.stdout.splitlines() if "Received" in line]
    assert [line.split(": ")[0] for line in said] == OF_TENSORS
    for line in said:
        assert line.endswith("Received: torch"), line
