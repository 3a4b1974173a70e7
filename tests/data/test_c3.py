import json
import os
import pathlib

import pytest

from su_models.data import load
from su_models.data.c3 import C3, load_c3

ROW = [
    ["男：去哪?", "女：回家。"],
    [
        {"question": "女的去哪?", "choice": ["家", "学校"], "answer": "家"},
        {"question": "谁问?", "choice": ["男的", "女的"], "answer": "男的"},
    ],
    "1-1",
]


def files(folder, content):
    """Paths of six files with the same content, but for the dialogues' test."""
    paths = {}
    for file in C3.downloads:
        path = folder / file.name
        rows = [ROW, *content] if file.name == "c3-d-test.json" else content
        path.write_text(json.dumps(rows), "utf-8")
        paths[file.name] = path
    return paths


def test_there_is_a_row_for_each_question(tmp_path):
    splits = load_c3(files(tmp_path, [ROW]))
    assert {name: len(split["question"]) for name, split in splits.items()} == {
        "train": 4,
        "valid": 4,
        "test": 6,
    }
    test = splits["test"]
    assert test["context"] == ["男：去哪?\n女：回家。"] * 6
    assert test["question"] == ["女的去哪?", "谁问?"] * 3
    assert test["answer"] == ["家", "男的"] * 3
    assert test["choices"][1] == ["男的", "女的"]
    assert test["kind"] == ["dialogue"] * 4 + ["mixed"] * 2


@pytest.mark.parametrize(
    "content", [{"data": []}, [[["男：去哪?"], [{"question": ""}], "1"]], [3]]
)
def test_another_form_is_rejected(tmp_path, content):
    paths = files(tmp_path, [])
    paths["c3-m-dev.json"].write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="form of C3 .*c3-m-dev.json"):
        load_c3(paths)


@pytest.mark.data
def test_the_real_set():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], C3.folder)
    for file in C3.downloads:
        if not (folder / file.name).exists():
            pytest.skip(f"{folder / file.name} is not there")
    splits = load("c3")
    kinds = {name: split["kind"] for name, split in splits.items()}
    assert {n: k.count("dialogue") for n, k in kinds.items()} == {
        "train": 5_856,
        "valid": 1_825,
        "test": 1_890,
    }
    for split in splits.values():
        for answer, choices in zip(
            split["answer"], split["choices"], strict=True
        ):
            assert answer in choices and len(choices) in (2, 3, 4)
