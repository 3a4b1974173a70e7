"""Titles of Chinese news in ten classes."""

import numpy as np

from su_models.data.dataset import Dataset, File

CLASSES = (
    "finance",
    "realty",
    "stocks",
    "education",
    "science",
    "society",
    "politics",
    "sports",
    "game",
    "entertainment",
)
_FILES = {"valid": "thucnews10_dev.txt", "test": "thucnews10_test.txt"}


def load_thucnews10(paths):
    """Returns the splits, in the order of their files.

    Args:
        paths: dict from the names of the two files to paths. A line is a
            title, a tab and the number of its class in `CLASSES`.

    Returns:
        A dict of splits, each a dict of `text`, a list of strings, and `y`,
        int64 `(n,)`.

    Raises:
        ValueError: if a line has another form.
    """
    return {split: _titles(paths[name], name) for split, name in _FILES.items()}


def _titles(path, name):
    """Returns the titles and classes of one file."""
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    rows = [line.rpartition("\t") for line in lines]
    for i, (text, _, label) in enumerate(rows, start=1):
        if not text or label not in [*map(str, range(len(CLASSES)))]:
            raise ValueError(
                "A line must be a title, a tab and the number of a class. "
                f"Received: line {i} of {name}, {lines[i - 1]!r}"
            )
    return {
        "text": [text for text, _, _ in rows],
        "y": np.array([int(label) for *_, label in rows], "int64"),
    }


_URL = (
    "https://raw.githubusercontent.com/649453932/"
    "Chinese-Text-Classification-Pytorch/master/THUCNews/data"
)

THUCNEWS10 = Dataset(
    name="thucnews10",
    folder="zh_news",
    description="Titles of Chinese news in ten classes, as many of each. Only "
    "the two smaller files; the 180 000 titles to train on are not included.",
    source="THUCNews of the Tsinghua University, as selected in "
    "https://github.com/649453932/Chinese-Text-Classification-Pytorch.",
    licence="MIT, as the repository; that of the titles is not stated",
    sizes={"valid": 10_000, "test": 10_000},
    loader=load_thucnews10,
    downloads=(
        File(
            "thucnews10_dev.txt",
            "6ed73aa2c57ee1560c8f76570d48735c4b1c29ae4983fe3523d56e115813e175",
            f"{_URL}/dev.txt",
        ),
        File(
            "thucnews10_test.txt",
            "ebecc8c896635ad69730083ca7b81d37c42c9a5779bc05c9d2479d894e34f026",
            f"{_URL}/test.txt",
        ),
    ),
)
