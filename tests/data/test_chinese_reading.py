import json
import os
import pathlib

import pytest

from su_models.data import load
from su_models.data.chinese_reading import CMRC2018, DRCD, load_squad

ARTICLE = {
    "title": "山",
    "paragraphs": [
        {
            "context": "泰山在山东，高一千五百米。",
            "qas": [
                {"question": "在哪？", "answers": [{"text": "山东"}]},
                {
                    "question": "多高？",
                    "answers": [{"text": "一千五百米"}, {"text": "千五百米"}],
                },
            ],
        },
    ],
}


def files(folder, content):
    path = folder / "file.json"
    path.write_text(json.dumps(content), "utf-8")
    return {path.name: path}


def test_there_is_a_row_for_each_question(tmp_path):
    paths = files(tmp_path, {"data": [ARTICLE, ARTICLE]})
    split = load_squad(paths, {"valid": "file.json"})["valid"]
    assert split["context"] == ["泰山在山东，高一千五百米。"] * 4
    assert split["question"] == ["在哪？", "多高？"] * 2
    assert split["answers"][:2] == [["山东"], ["一千五百米", "千五百米"]]


@pytest.mark.parametrize(
    "content", [[], {}, {"data": 3}, {"data": [{"paragraphs": [{}]}]}]
)
def test_another_form_is_rejected(tmp_path, content):
    with pytest.raises(ValueError, match="form of SQuAD .*path="):
        load_squad(files(tmp_path, content), {"valid": "file.json"})


@pytest.mark.data
@pytest.mark.parametrize(
    ("dataset", "passages"), [(CMRC2018, 1_104), (DRCD, 1_000)]
)
def test_the_real_sets(dataset, passages):
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], dataset.folder)
    for file in dataset.downloads:
        if not (folder / file.name).exists():
            pytest.skip(f"{folder / file.name} is not there")
    splits = load(dataset.name)
    contexts = [c for split in splits.values() for c in split["context"]]
    assert len({*contexts}) == passages
    assert all(a for split in splits.values() for a in split["answers"])
