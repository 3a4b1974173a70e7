import os
import pathlib

import pytest

from su_models.data import load
from su_models.data.ptb import PTB, load_ptb


def test_each_line_is_a_sentence_that_ends(tmp_path):
    paths = {}
    for split in ("train", "valid", "test"):
        name = f"ptb.{split}.txt"
        paths[name] = tmp_path / name
        text = f" {split} <unk> N years \n mr. o'neil 's $ N \n"
        paths[name].write_text(text, "utf-8")
    splits = load_ptb(paths)
    assert list(splits) == ["train", "valid", "test"]
    for split in splits:
        assert splits[split]["tokens"] == [
            [split, "<unk>", "N", "years", "<eos>"],
            ["mr.", "o'neil", "'s", "$", "N", "<eos>"],
        ]


def test_the_published_files_are_known():
    assert [file.name for file in PTB.downloads] == [
        "ptb.train.txt",
        "ptb.valid.txt",
        "ptb.test.txt",
    ]
    for file in PTB.downloads:
        assert file.url.endswith(f"/{file.name}") and len(file.sha256) == 64


@pytest.mark.data
def test_the_real_set():
    path = pathlib.Path(os.environ["SU_MODELS_DATA"], "ptb", "ptb.train.txt")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    splits = {k: v["tokens"] for k, v in load("ptb").items()}
    tokens = {k: sum(map(len, v)) for k, v in splits.items()}
    assert tokens == {"train": 929_589, "valid": 73_760, "test": 82_430}
    words = {w for v in splits.values() for s in v for w in s}
    assert len(words) == 10_000
    assert words == {w for s in splits["train"] for w in s}
