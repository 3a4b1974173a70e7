import sys

import pytest

from su_models.text.simplifier import simplifier


def test_without_opencc_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(ImportError, match=r"su_models\[opencc\]"):
        simplifier()


def test_opencc_simplifies_text_by_text():
    pytest.importorskip("opencc", reason="the extra opencc")
    simplify = simplifier()
    assert simplify(["綺殿千尋起", "", "已经"]) == ["绮殿千寻起", "", "已经"]
