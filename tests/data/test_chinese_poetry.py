import gzip
import json
import os
import pathlib

import pytest

from su_models.data import load
from su_models.data.chinese_poetry import CHINESE_POETRY, load_chinese_poetry

TANG = {
    "author": "王之渙",
    "title": "登鸛雀樓",
    "paragraphs": ["白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。"],
}
CI = {"author": "李煜", "rhythmic": "相见欢", "paragraphs": ["无言独上西楼。"]}


def files(folder, **poems):
    paths = {}
    for split, poem in poems.items():
        path = folder / f"{split}.jsonl.gz"
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(json.dumps(poem, ensure_ascii=False) + "\n")
        paths[path.name] = path
    return paths


def test_a_poem_is_its_lines_joined(tmp_path):
    splits = load_chinese_poetry(files(tmp_path, tang=TANG, song_ci=CI))
    assert splits == {
        "all": {
            "text": [
                "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。",
                "无言独上西楼。",
            ],
            "title": ["登鸛雀樓", "相见欢"],
            "author": ["王之渙", "李煜"],
            "collection": ["tang", "song_ci"],
        },
    }


def test_one_file_is_enough(tmp_path):
    poems = load_chinese_poetry(files(tmp_path, song_ci=CI))["all"]
    assert poems["collection"] == ["song_ci"]


@pytest.mark.parametrize("size", [0, 10, -1, -30])
def test_a_truncated_file_is_rejected(tmp_path, size):
    paths = files(tmp_path, tang=TANG)
    (path,) = paths.values()
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="Not the whole file .*path="):
        load_chinese_poetry(paths)


@pytest.mark.parametrize("poem", [[], 3, {"author": "a", "title": "b"}])
def test_another_line_is_rejected(tmp_path, poem):
    with pytest.raises(ValueError, match="Not the whole file .*path="):
        load_chinese_poetry(files(tmp_path, tang=poem))


@pytest.mark.data
def test_the_real_set():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], "poetry")
    for file in CHINESE_POETRY.files:
        if not (folder / file.name).exists():
            pytest.skip(f"{folder / file.name} is not there")
    poems = load("chinese_poetry")["all"]
    assert poems["author"][0] == "太宗皇帝"
    assert poems["text"][0].startswith("秦川雄帝宅，函谷壯皇居。")
    first = poems["collection"].index("song_ci")
    assert (first, poems["title"][first]) == (57_607, "导引")
