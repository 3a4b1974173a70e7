"""The READMEs are true: their code runs, and both say the same."""

import pathlib
import re

import keras
import pytest

from su_models.cli.main import app

ROOT = pathlib.Path(__file__).parent.parent
ENGLISH, CHINESE = (
    (ROOT / name).read_text("utf-8")
    for name in ("README.md", "README.zh-CN.md")
)
both = pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])


def blocks(text, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    # comments are translated, code is not
    return [
        re.sub(r" *#.*", "", code) for kind, code in found if kind == language
    ]


def commands(text):
    """The lines of shell blocks, without what explains them."""
    lines = "\n".join(blocks(text, "")).splitlines()
    return [re.split(r"  +", line)[0] for line in lines]


def test_both_languages_show_the_same_code_and_commands():
    assert blocks(ENGLISH, "python") == blocks(CHINESE, "python")
    assert len(blocks(ENGLISH, "python")) >= 4
    assert commands(ENGLISH) == commands(CHINESE)


@pytest.mark.parametrize("pattern", [r"^#+ ", r"^\| `", r"^\* \*\*"])
def test_both_languages_have_the_same_parts(pattern):
    counts = [len(re.findall(pattern, t, re.M)) for t in (ENGLISH, CHINESE)]
    assert counts[0] == counts[1] > 0


def test_code_runs_in_the_order_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {}
    for block in blocks(ENGLISH, "python"):
        exports = "export_saved_model" in block
        if exports and keras.backend.backend() != "tensorflow":
            continue  # such an export is TensorFlow's
        exec(compile(block, "README.md", "exec"), space)
    assert space["rotated"].shape == space["queries"].shape
    assert space["images"].shape[1:] == (16, 16, 3)


@both
def test_links_lead_somewhere(text):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


@both
def test_make_targets_and_commands_exist(text):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make ([a-z-]+)", text, re.M):
        assert re.search(rf"^{target}: ", makefile, re.M), target
    known = {c.name or c.callback.__name__ for c in app.registered_commands}
    shown = set(re.findall(r"^su-models ([a-z]+)", text, re.M))
    assert shown and shown <= known
