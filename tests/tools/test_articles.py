"""The article map lists implementations, from their docstrings."""

import pytest

from tools import articles

LAYER = '''
"""Nothing here cites."""

# https://kexue.fm/archives/1 in a comment is no implementation


class Layer:
    """One line.

    Article: https://kexue.fm/archives/22#节
        《很长的
        标题》
    """

    def call(self):
        """Article 3 is named without its address."""
'''

TEST = '"""Article: https://kexue.fm/archives/22"""'

EXAMPLE = '"""Article: https://kexue.fm/archives/7 《另一篇》"""'


@pytest.fixture
def root(tmp_path):
    for name, text in [
        ("su_models/layers/layer.py", LAYER),
        ("tests/layers/test_layer.py", TEST),
        ("examples/seven.py", EXAMPLE),
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
    return tmp_path


def test_citations_are_read_from_docstrings(root):
    assert list(articles.citations(root)) == [
        (22, "很长的标题", "su_models", "Layer", "su_models/layers/layer.py"),
        (7, "另一篇", "examples", "seven", "examples/seven.py"),
        (22, "", "tests", "test_layer", "tests/layers/test_layer.py"),
    ]


def test_table_has_one_row_an_article_in_order(root):
    head, line, seven, more = articles.table(root).splitlines()
    assert head == "| article | title | code | example | test |"
    assert line == "|--|--|--|--|--|"
    assert seven == (
        "| [7](https://kexue.fm/archives/7) | 另一篇 | - "
        "| [seven](examples/seven.py) | - |"
    )
    assert more == (
        "| [22](https://kexue.fm/archives/22) | 很长的标题 "
        "| [Layer](su_models/layers/layer.py) | - "
        "| [test_layer](tests/layers/test_layer.py) |"
    )


def test_command_prints_what_implements_an_article(capsys):
    assert articles.main(["8265"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "su_models/layers/position/rotary_embedding.py  RotaryEmbedding  "
        "Transformer升级之路：2、博采众长的旋转式位置编码"
    )


def test_command_says_that_nothing_implements_an_article(capsys):
    assert articles.main(["8265", "1"]) == 1
    assert capsys.readouterr().err == "No code cites article 1.\n"


@pytest.mark.parametrize("arguments", [[], ["rope"], ["--help"]])
def test_command_explains_itself(arguments, capsys):
    assert articles.main(arguments) == 2
    assert "articles.py --write" in capsys.readouterr().err


def test_command_writes_the_table(root, monkeypatch):
    monkeypatch.setattr(articles, "ROOT", root)
    monkeypatch.setattr(articles, "table", lambda: "the table\n")
    assert articles.main(["--write"]) == 0
    assert (root / "ARTICLES.md").read_text("utf-8") == "the table\n"
