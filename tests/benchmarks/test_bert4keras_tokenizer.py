"""The other end of the tokenizer's benchmark, without bert4keras."""

import sys

import pytest

from benchmarks.common.bert4keras_tokenizer import Bert4kerasTokenizer
from benchmarks.common.peer_process import VARIABLE

# stands for the interpreter: a script that is asked like bert4keras
SCRIPT = f"""#!{sys.executable}
import json, sys
call, request = json.loads(sys.stdin.readline())
texts = request["texts"]
print(json.dumps([[call, len(t), request["lower"]] for t in texts]))
sys.stdout.flush()
for i, line in enumerate(sys.stdin):
    if i == 2 or json.loads(line) != ["encode", {{}}]:
        break
    print("null", flush=True)
"""


def test_it_answers_until_it_ends(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(SCRIPT)
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    other = Bert4kerasTokenizer("vocab.txt", True, ["中国", "a"])
    assert other.ids == [["prepare", 2, True], ["prepare", 1, True]]
    other.encode()
    other.encode()
    with pytest.raises(SystemExit, match="has ended"):
        other.encode()
    other.close()


def test_without_an_interpreter_it_says_so(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SystemExit, match=f"{VARIABLE} must name"):
        Bert4kerasTokenizer("vocab.txt", True, [])
