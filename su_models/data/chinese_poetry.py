"""Poems of the Tang dynasty and ci of the Song dynasty."""

import gzip
import json
import zlib

from su_models.data.dataset import Dataset, File

COLLECTIONS = ("tang", "song_ci")


def load_chinese_poetry(paths):
    """Returns the poems of both collections, in the order of their files.

    Args:
        paths: dict from the names `<collection>.jsonl.gz` to paths. A line is
            a JSON object of a poem with its `paragraphs`, a list of lines, its
            `author`, and its `title`, or for a ci its tune, `rhythmic`. A
            collection whose file is missing is left out.

    Returns:
        A dict of the split `all`, a dict of lists of strings: `text`, the
        poems without line ends, `title`, `author` and `collection`.

    Raises:
        ValueError: if a file is damaged or a line has another form.
    """
    columns = {"text": [], "title": [], "author": [], "collection": []}
    for collection in COLLECTIONS:
        path = paths.get(f"{collection}.jsonl.gz")
        if path is not None:
            _add(columns, path, collection)
    return {"all": columns}


def _add(columns, path, collection):
    """Appends the poems of one file to the columns."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            poems = [json.loads(line) for line in file]
        if not poems:
            raise ValueError("it has no line")
        for poem in poems:
            title = "title" if "title" in poem else "rhythmic"
            columns["title"].append(poem[title])
            columns["text"].append("".join(poem["paragraphs"]))
            columns["author"].append(poem["author"])
            columns["collection"].append(collection)
    # TypeError: a line is no object, or has no list of lines
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise ValueError(
            f"Not the whole file of poems ({error!r}). Received: path={path}"
        ) from error


CHINESE_POETRY = Dataset(
    name="chinese_poetry",
    folder="poetry",
    description="57 607 poems of the Tang dynasty, in traditional characters, "
    "and 21 053 ci of the Song dynasty, in simplified ones; `collection` is "
    "`tang` or `song_ci`.",
    source="chinese-poetry, https://github.com/chinese-poetry/chinese-poetry, "
    "whose files of 1 000 poems each are joined here.",
    licence="the poems are in the public domain; the repository MIT",
    sizes={"all": 57_607 + 21_053},
    loader=load_chinese_poetry,
    files=(
        File(
            "tang.jsonl.gz",
            "202b01ef74e8fca87153471269b144e9ba7ce9dc9f777bc8876f849816ea001a",
        ),
        File(
            "song_ci.jsonl.gz",
            "0808d301b61245c36740cc96e993f56249bdeeae9bcd6899766d88d464f05b1c",
        ),
    ),
)
