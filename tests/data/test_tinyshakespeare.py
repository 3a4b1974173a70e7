import hashlib
import os
import pathlib

import pytest

from su_models.data import describe, load
from su_models.data.tinyshakespeare import (
    TINYSHAKESPEARE,
    TRAIN,
    load_tinyshakespeare,
)


def test_the_first_part_trains_and_the_rest_tests(tmp_path):
    text = "To be, or not to be\n" * 60_000
    path = tmp_path / "tinyshakespeare.txt"
    path.write_text(text, "ascii", newline="\n")
    splits = load_tinyshakespeare({path.name: path})
    assert list(splits) == ["train", "test"]
    assert len(splits["train"]["text"]) == TRAIN
    assert splits["train"]["text"] + splits["test"]["text"] == text


def test_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SU_MODELS_DATA", str(tmp_path))
    path = tmp_path / "en_text" / "tinyshakespeare.txt"
    path.parent.mkdir()
    path.write_text("To be, or not to bee")
    received = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"sha256={received}"):
        load("tinyshakespeare")


def test_its_address_is_known():
    (file,) = TINYSHAKESPEARE.downloads
    assert file.url.endswith("/char-rnn/master/data/tinyshakespeare/input.txt")
    assert file.url in describe("tinyshakespeare")


@pytest.mark.data
def test_the_real_set():
    path = pathlib.Path(os.environ["SU_MODELS_DATA"], "en_text")
    if not (path / "tinyshakespeare.txt").exists():
        pytest.skip(f"{path} has no tinyshakespeare.txt")
    splits = {k: v["text"] for k, v in load("tinyshakespeare").items()}
    assert {k: len(v) for k, v in splits.items()} == TINYSHAKESPEARE.sizes
    assert splits["train"].startswith("First Citizen:\nBefore we proceed")
    assert len(set(splits["train"])) == 65 >= len(set(splits["test"]))
