import os
import pathlib

import numpy as np
import pytest

from su_models.data import load
from su_models.data.thucnews10 import CLASSES, THUCNEWS10, load_thucnews10


def files(folder, dev="股市 上涨\t2\n", test="球队\t获胜\t7\n电影\t9\n"):
    paths = {}
    for name, text in ("dev", dev), ("test", test):
        path = folder / f"thucnews10_{name}.txt"
        path.write_text(text, "utf-8")
        paths[path.name] = path
    return paths


def test_each_line_is_a_title_and_its_class(tmp_path):
    splits = load_thucnews10(files(tmp_path))
    assert splits["valid"]["text"] == ["股市 上涨"]
    assert splits["test"]["text"] == ["球队\t获胜", "电影"]
    assert splits["test"]["y"].tolist() == [7, 9]
    assert splits["test"]["y"].dtype == "int64"
    assert [CLASSES[i] for i in splits["test"]["y"]] == [
        "sports",
        "entertainment",
    ]


@pytest.mark.parametrize("line", ["", "球队", "\t1", "球队\t10", "球队\t-1"])
def test_another_line_is_rejected(tmp_path, line):
    paths = files(tmp_path, test=f"电影\t9\n{line}\n")
    with pytest.raises(ValueError, match="Received: line 2 of thucnews10_test"):
        load_thucnews10(paths)


@pytest.mark.data
def test_the_real_set():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], "zh_news")
    for file in THUCNEWS10.downloads:
        if not (folder / file.name).exists():
            pytest.skip(f"{folder / file.name} is not there")
    for split in load("thucnews10").values():
        assert np.bincount(split["y"]).tolist() == [1_000] * 10
