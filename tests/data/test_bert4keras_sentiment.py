import os
import pathlib
import zipfile

import pytest

from su_models.data import describe, load
from su_models.data.bert4keras_sentiment import (
    ARCHIVE,
    BERT4KERAS_SENTIMENT,
    load_bert4keras_sentiment,
)

GOOD = "很 安静\u2028隔音不错\t1\n"
BAD = "房间小\t太吵\t0\n"  # the last tabulator is the one before the label


def archive(folder, **more):
    path = folder / ARCHIVE
    texts = {"train": GOOD + BAD, "valid": BAD, "test": GOOD, **more}
    with zipfile.ZipFile(path, "w") as file:
        for split, text in texts.items():
            if text is not None:
                file.writestr(f"sentiment/sentiment.{split}.data", text)
    return {ARCHIVE: path}


def test_each_line_is_a_text_and_its_label(tmp_path):
    splits = load_bert4keras_sentiment(archive(tmp_path))
    assert list(splits) == ["train", "valid", "test"]
    good, bad = "很 安静\u2028隔音不错", "房间小\t太吵"
    assert splits["train"]["text"] == [good, bad]
    assert splits["train"]["y"].tolist() == [1, 0]
    assert splits["train"]["y"].dtype == "int64"
    assert (splits["valid"]["text"], splits["test"]["text"]) == ([bad], [good])


@pytest.mark.parametrize(
    "line", ["好", "\t1", "好\t", "好\t2", "好\t1\n\n", ""]
)
def test_another_line_is_refused(tmp_path, line):
    paths = archive(tmp_path, valid=GOOD + line + "\n")
    with pytest.raises(ValueError, match="Received: line [23] of valid, '"):
        load_bert4keras_sentiment(paths)


@pytest.mark.parametrize("size", [0, 10, -1, -30])
def test_a_truncated_archive_is_refused(tmp_path, size):
    paths = archive(tmp_path)
    content = paths[ARCHIVE].read_bytes()
    paths[ARCHIVE].write_bytes(content[:size])
    with pytest.raises(ValueError, match="Not the whole zip .*path="):
        load_bert4keras_sentiment(paths)


def test_a_damaged_archive_is_refused(tmp_path):
    paths = archive(tmp_path)
    content = bytearray(paths[ARCHIVE].read_bytes())
    content[50 + len("sentiment/")] ^= 1
    paths[ARCHIVE].write_bytes(content)
    with pytest.raises(ValueError, match="Not the whole zip"):
        load_bert4keras_sentiment(paths)


@pytest.mark.parametrize("text", [None, b"\xff\t1\n"])
def test_a_missing_or_unreadable_member_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="Not the whole zip"):
        load_bert4keras_sentiment(archive(tmp_path, test=text))


def test_its_address_is_known():
    (file,) = BERT4KERAS_SENTIMENT.downloads
    assert file.url.endswith("/examples/datasets/sentiment.zip")
    assert file.url in describe("bert4keras_sentiment")


@pytest.mark.data
def test_the_real_set():
    path = pathlib.Path(os.environ["SU_MODELS_DATA"], "zh_sentiment", ARCHIVE)
    if not path.exists():
        pytest.skip(f"{path} is not there")
    splits = load("bert4keras_sentiment")
    assert [sum(s["y"]) for s in splits.values()] == [8_588, 1_037, 1_052]
    assert splits["test"]["text"][-1] and splits["test"]["y"].shape == (2_111,)
    # what the description says of repeated texts
    train, valid, test = (s["text"] for s in splits.values())
    assert len({*train, *valid, *test}) == 16_755
    assert sum(text in {*train} for text in test) == 677
    assert sum(text in {*train} for text in valid) == 666
    assert sum(text in {*valid} for text in test) == 88
    labels = dict(zip(train, splits["train"]["y"], strict=True))
    for split, others in (("test", 3), ("valid", 2)):
        pairs = zip(splits[split]["text"], splits[split]["y"], strict=True)
        assert sum(labels.get(text, y) != y for text, y in pairs) == others
