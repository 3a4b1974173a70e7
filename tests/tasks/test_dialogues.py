import pytest

from su_models.tasks.dialogues import (
    load_dialogues,
    normalized,
    parted,
    vocabulary,
)
from tests.tasks.dialogues import use


@pytest.fixture
def data(monkeypatch):
    use(monkeypatch)
    yield
    load_dialogues.cache_clear()


def test_only_the_training_part_has_other_texts(data):
    splits = load_dialogues()
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 40,
        "valid": 30,
        "test": 30,
    }
    assert len(load_dialogues(mixed=False)["train"]) == 30
    context, question, answer, choices = splits["test"][0]
    assert context.count("\n") == 1 and question == "女的去哪?"
    assert answer in choices


def test_text_is_normalized_line_by_line():
    given = "Ａ Is  HERE？\n\t是:1,000（元） "
    assert normalized(given) == "ａ is here?\n是：1，000（元）"
    assert normalized("a(b)!") == "a（b）!"


@pytest.mark.parametrize(
    "text",
    [
        "男：去哪？\n女：家。\n\n谁去?\n",
        " 男：去哪?|女：家。|谁去？",
        "男：去哪?|女：家。\n谁去?",
    ],
)
def test_the_last_line_is_the_question(text):
    assert parted(text) == ("男：去哪?\n女：家。", "谁去?")


@pytest.mark.parametrize("text", ["谁去?", "|谁去?|", "\n", "谁去?\n  "])
def test_a_question_alone_is_rejected(text):
    with pytest.raises(ValueError, match="last line.*Received: "):
        parted(text)


def test_the_vocabulary_is_sorted_by_frequency():
    rows = [("7a天 天，", "天\n地", "77地", ["玄"])]
    assert vocabulary(rows) == [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
        *("7", "##7", "天", "地", "a", "##a", "，"),
    ]
    assert vocabulary(rows, min_count=3)[4:] == ["7", "##7", "天"]
