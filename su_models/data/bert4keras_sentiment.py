"""The sentiment data set of bert4keras: positive and negative reviews."""

import zipfile
import zlib

import numpy as np

from su_models.data.dataset import Dataset, File

ARCHIVE = "bert4keras_sentiment.zip"
SPLITS = ("train", "valid", "test")


def load_bert4keras_sentiment(paths):
    """Returns the splits, in the order of their files.

    Args:
        paths: dict from the name of the archive to its path. Its members
            `sentiment/sentiment.<split>.data` have one review per line: text,
            tab, and 1 for a positive or 0 for a negative review.

    Returns:
        A dict of splits, each a dict of `text`, a list of strings, and `y`,
        int64 `(n,)`.

    Raises:
        ValueError: if the archive is damaged or a line has another form.
    """
    path = paths[ARCHIVE]
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {
                split: archive.read(f"sentiment/sentiment.{split}.data")
                for split in SPLITS
            }
        lines = {
            split: content.decode("utf-8").removesuffix("\n").split("\n")
            for split, content in contents.items()
        }
    # KeyError: a member is missing
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        UnicodeDecodeError,
    ) as error:
        raise ValueError(
            f"Not the whole zip file ({error}). Received: path={path}"
        ) from error
    return {split: _reviews(lines[split], split) for split in SPLITS}


def _reviews(lines, split):
    """Returns the texts and labels of one file."""
    rows = [line.rpartition("\t") for line in lines]
    for i, (text, _, label) in enumerate(rows, start=1):
        if not text or label not in ("0", "1"):
            raise ValueError(
                "A line must be a text, a tab and 0 or 1. "
                f"Received: line {i} of {split}, {lines[i - 1]!r}"
            )
    return {
        "text": [text for text, _, _ in rows],
        "y": np.array([int(label) for *_, label in rows], "int64"),
    }


BERT4KERAS_SENTIMENT = Dataset(
    name="bert4keras_sentiment",
    folder="zh_sentiment",
    description="Chinese reviews of hotels, books, computers and other goods; "
    "y is 1 for positive and 0 for negative ones, about equally many. Only "
    "16 755 of the 21 105 texts differ: 677 of the test texts and 666 of the "
    "valid texts are also in train (3 and 2 of them with the other label), and "
    "88 of the test texts are in valid, so test scores also reward memory. "
    "The split is that of bert4keras.",
    source="Jianlin Su, bert4keras, examples/datasets/sentiment.zip, "
    "https://github.com/bojone/bert4keras.",
    licence="Apache-2.0, as the repository; the origin of the reviews is not "
    "stated",
    sizes={"train": 16_883, "valid": 2_111, "test": 2_111},
    loader=load_bert4keras_sentiment,
    downloads=(
        File(
            ARCHIVE,
            "866256a80e4019e538d2681b5f4bf2f21be3c24139b4100ca266c2fca8be86c9",
            "https://raw.githubusercontent.com/bojone/bert4keras/master/"
            "examples/datasets/sentiment.zip",
        ),
    ),
)
