"""Dialogues with a question and its answer, as text and as tokens."""

import collections
import functools

from su_models.data.registry import load
from su_models.text.characters import is_cjk

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# of the two widths of a mark, that which is more frequent in the data set
_WIDTHS = str.maketrans("？！:,;()．％", "?!：，；（）.%")


@functools.lru_cache(maxsize=2)
def load_dialogues(mixed=True):
    """Returns the dialogues of the data set `c3`.

    Args:
        mixed: bool. Whether the other texts of C3 are added to the training
            part.

    Returns:
        A dict of the splits `"train"`, `"valid"` and `"test"`, each a list of
        tuples `(context, question, answer, choices)` of normalized text.

    Raises:
        FileNotFoundError: if the data set is not there.
    """
    return {
        split: [
            (
                normalized(context),
                normalized(question),
                normalized(answer),
                [*map(normalized, choices)],
            )
            for context, question, answer, choices, kind in zip(
                *columns.values(), strict=True
            )
            if kind == "dialogue" or (mixed and split == "train")
        ]
        for split, columns in load("c3").items()
    }


def normalized(text):
    """Returns a text in lower case, with marks of one width.

    Runs of spaces inside a line become one.
    """
    lines = text.translate(_WIDTHS).lower().split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def parted(text):
    """Returns the dialogue and the question of a prompt.

    Args:
        text: str of at least two lines, which are separated by line feeds or
            by `|`. The last one is the question.

    Raises:
        ValueError: if there is no dialogue or no question.
    """
    lines = [x.strip() for x in normalized(text).replace("|", "\n").split("\n")]
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise ValueError(
            "A text must have the lines of a dialogue and a question as the "
            "last line, separated by line feeds or by |. "
            f"Received: {text!r}"
        )
    return "\n".join(lines[:-1]), lines[-1]


def vocabulary(rows, min_count=1):
    """Returns the tokens of dialogues, the most frequent ones first.

    Args:
        rows: list as of `load_dialogues`.
        min_count: int. Rarer characters are left out.

    Returns:
        A list of str: `SPECIALS`, then single characters. Those that are part
        of words, such as digits, are there twice: 7 and ##7.
    """
    counts = collections.Counter("".join("".join(row[:3]) for row in rows))
    found = [
        (-count, c)
        for c, count in counts.items()
        if count >= min_count and not c.isspace()
    ]
    tokens = [*SPECIALS]
    for _, c in sorted(found):
        tokens.append(c)
        if c.isalnum() and not is_cjk(c):
            tokens.append(f"##{c}")
    return tokens
