"""Processes of peers: what they are asked, and what they need."""

import ast
import pathlib
import sys

import pytest

from benchmarks.common.peer_process import PeerProcess

ROOT = pathlib.Path(__file__).parents[2]
# modules that interpreters without this library run
SERVING = [
    "peer_process",
    "bert4keras_tokenizer",
    "bert4keras_encoder",
    "transformers_encoder",
]
MODULE = """
from benchmarks.common.peer_process import serve


class Served:
    def double(self, x):
        print("noise")
        return 2 * x


serve(Served())
"""


@pytest.fixture
def process(tmp_path):
    tmp_path.joinpath("served.py").write_text(MODULE)
    process = PeerProcess(
        sys.executable, "served", {"PYTHONPATH": str(tmp_path)}
    )
    yield process
    process.close()


def test_methods_are_called_and_what_they_print_is_no_answer(process):
    assert process.ask("double", x=3) == 6
    assert process.ask("double", x=[1]) == [1, 1]


def test_a_process_that_fails_ends_the_run(process):
    with pytest.raises(SystemExit, match="process of served has ended"):
        process.ask("triple", x=3)


@pytest.mark.parametrize("name", SERVING)
def test_such_modules_import_no_library_at_once(name):
    path = ROOT / "benchmarks" / "common" / f"{name}.py"
    known = {*sys.stdlib_module_names, "benchmarks"}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            assert {a.name.split(".")[0] for a in node.names} <= known
        if isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in known
            if node.module.startswith("benchmarks"):
                assert node.module.split(".")[-1] in SERVING
    assert "su_models." not in path.read_text("utf-8")
