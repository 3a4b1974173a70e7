"""Plays of Shakespeare in one file, a text for character models."""

from su_models.data.dataset import Dataset, File

TRAIN = 1_003_854  # characters, 90 %; the rest is the test split


def load_tinyshakespeare(paths):
    """Returns the splits, each with one text.

    Args:
        paths: dict from the name `tinyshakespeare.txt` to its path.

    Returns:
        A dict of the splits `train`, the first 90 %, and `test`, each a dict
        of `text`: a string.
    """
    (path,) = paths.values()
    text = path.read_text("ascii")
    return {"train": {"text": text[:TRAIN]}, "test": {"text": text[TRAIN:]}}


TINYSHAKESPEARE = Dataset(
    name="tinyshakespeare",
    folder="en_text",
    description="40 000 lines of plays by Shakespeare, 65 different "
    "characters; sizes are in characters. Split 90 to 10 in order.",
    source="A. Karpathy, The Unreasonable Effectiveness of Recurrent Neural "
    "Networks, 2015, https://github.com/karpathy/char-rnn.",
    licence="the text is in the public domain; the repository MIT",
    sizes={"train": TRAIN, "test": 111_540},
    loader=load_tinyshakespeare,
    downloads=(
        File(
            "tinyshakespeare.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/"
            "tinyshakespeare/input.txt",
        ),
    ),
)
