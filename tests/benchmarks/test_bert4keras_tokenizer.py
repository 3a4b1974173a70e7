"""The other end of the tokenizer's benchmark, without bert4keras."""

import sys

import pytest

from benchmarks.common import bert4keras_tokenizer
from benchmarks.common.bert4keras_tokenizer import (
    VARIABLE,
    Bert4kerasTokenizer,
)

# stands for the interpreter: a script that is asked like bert4keras
SCRIPT = f"""#!{sys.executable}
import json, sys
request = json.loads(sys.stdin.readline())
print(json.dumps([[len(t), request["lower"]] for t in request["texts"]]))
sys.stdout.flush()
for i, line in enumerate(sys.stdin):
    if i == 2:
        break
    print(flush=True)
"""


def test_it_answers_until_it_ends(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(SCRIPT)
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    other = Bert4kerasTokenizer("vocab.txt", True, ["中国", "a"])
    assert other.ids == [[2, True], [1, True]]
    other.encode()
    other.encode()
    with pytest.raises(SystemExit, match="has ended"):
        other.encode()
    other.close()


def test_without_an_interpreter_it_says_so(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SystemExit, match=f"{VARIABLE} must name"):
        Bert4kerasTokenizer("vocab.txt", True, [])


def test_it_runs_without_the_library():
    source = bert4keras_tokenizer.__file__
    with open(source, encoding="utf-8") as file:
        assert "su_models." not in file.read()
