"""Chinese dialogues and texts with questions of several choices."""

import json

from su_models.data.dataset import Dataset, File

_FILES = {"train": "train", "valid": "dev", "test": "test"}
_KINDS = {"dialogue": "d", "mixed": "m"}


def load_c3(paths):
    """Returns the questions of the six files of C3.

    Args:
        paths: dict from the names of files to paths.

    Returns:
        A dict of splits, each a dict of lists: `context`, a string with a line
        for each turn of a dialogue, `question` and `answer`, strings,
        `choices`, lists of strings with the answer among them, and `kind`,
        `"dialogue"` or `"mixed"`.

    Raises:
        ValueError: if a file has another form.
    """
    splits = {}
    for split, part in _FILES.items():
        columns = {
            name: []
            for name in ("context", "question", "answer", "choices", "kind")
        }
        for kind, letter in _KINDS.items():
            path = paths[f"c3-{letter}-{part}.json"]
            for row in _rows(path):
                for name, value in zip(columns, (*row, kind), strict=True):
                    columns[name].append(value)
        splits[split] = columns
    return splits


def _rows(path):
    """Returns the questions of one file, in its order."""
    try:
        return [
            (
                "\n".join(lines),
                qa["question"],
                qa["answer"],
                [*map(str, qa["choice"])],
            )
            for lines, questions, _ in json.loads(path.read_text("utf-8"))
            for qa in questions
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Not a file in the form of C3 ({error!r}). Received: path={path}"
        ) from error


_DIGESTS = {
    "c3-d-train.json": (
        "baf81f327dee84c6f451c9a4dd662e6193c67473b8791ffb72cce75cdb528f20"
    ),
    "c3-d-dev.json": (
        "8c7054930a40aeb288ad7c51c42fa93d54aef678ccab29c75d46a7432f4f6278"
    ),
    "c3-d-test.json": (
        "e9920491b31f9d00ecf31e51727b495dd6b0d05f4a96f273a343e81b6775a8f0"
    ),
    "c3-m-train.json": (
        "4c84a534f1eec2c72e5f60f0c044cc39e2e42a88df01134e677e03217472d6af"
    ),
    "c3-m-dev.json": (
        "357d0d8d2a29bc845cbe50e048c263629f5e527b70f24c3e0838c387c8d3cb54"
    ),
    "c3-m-test.json": (
        "7d8074be56cf574536a3284bc2d6b04d137694d5e5f5b1368143c0cf3e336822"
    ),
}

C3 = Dataset(
    name="c3",
    folder="mrc/c3",
    description="Questions of Chinese language exams about dialogues, and "
    "about texts of all kinds, with two to four choices.",
    source="K. Sun et al., Investigating Prior Knowledge for Challenging "
    "Chinese Machine Reading Comprehension, 2019, "
    "https://github.com/nlpdata/c3.",
    licence="for non-commercial research only",
    sizes={"train": 11_869, "valid": 3_816, "test": 3_892},
    loader=load_c3,
    downloads=tuple(
        File(
            name,
            digest,
            f"https://raw.githubusercontent.com/nlpdata/c3/master/data/{name}",
        )
        for name, digest in _DIGESTS.items()
    ),
)
