import sys

import pytest

from su_models.text.rhymes import RHYMES, rhyme_numbers


def test_without_pypinyin_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.raises(ImportError, match=r"su_models\[poems\]"):
        rhyme_numbers("春")


def test_the_rhymes_are_those_of_known_characters():
    pytest.importorskip("pypinyin", reason="the extra poems")
    rows = "花家瓜 波何多 雪月斜 来开怀 飞归谁 高萧 秋楼 山天端圆 人春君心"
    rows += " 长香黄 风东雄京 西儿居女 知诗子 孤书出无"
    for number, row in enumerate(rows.split(), start=1):
        assert rhyme_numbers(row) == [number] * len(row), row
    assert rhyme_numbers(["a", "，", "[PAD]"]) == [0] * 3


def test_there_are_fourteen_rhymes_and_no_final_has_two():
    finals = " ".join(RHYMES).split()
    assert len(RHYMES) == 14 and len({*finals}) == len(finals)
