"""Quatrains of the Tang dynasty with their titles, in simplified characters."""

import collections
import functools

import numpy as np

from su_models.data.registry import load
from su_models.tasks.quatrain_form import COMMA, END, STOP, lines_of
from su_models.text.characters import is_cjk
from su_models.text.simplifier import simplifier

HELD_OUT = 0.05  # share of the quatrains
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", END, COMMA, STOP)


@functools.lru_cache(maxsize=2)
def load_quatrains(halves=True):
    """Returns titles and poems of the data set `chinese_poetry`.

    Args:
        halves: bool. Whether both halves of poems of eight lines (律诗) are
            added to the training poems: they have the form of quatrains.

    Returns:
        A dict of the splits `"train"` and `"test"`, each a list of pairs of a
        title and a poem. A poem of the one is not in the other.

    Raises:
        FileNotFoundError: if the data set is not there.
        ImportError: if the package `opencc` is not installed.
    """
    poems = load("chinese_poetry")["all"]
    whole, parts = {}, []
    columns = (poems[name] for name in ("title", "text", "collection"))
    for title, text, collection in zip(*columns, strict=True):
        if collection != "tang":
            continue
        if lines_of(text):
            whole.setdefault(text, title)
        elif halves:
            middle = len(text) // 2
            both = text[:middle], text[middle:]
            if all(map(lines_of, both)):
                parts += [(half, title) for half in both]
    quatrains = _simplified(whole.items())
    order = np.random.default_rng(0).permutation(len(quatrains))
    count = max(round(HELD_OUT * len(order)), 1)
    test = [quatrains[i] for i in order[:count]]
    known = {poem for _, poem in test}
    rest = [*(quatrains[i] for i in order[count:]), *_simplified(parts)]
    train = [pair for pair in dict.fromkeys(rest) if pair[1] not in known]
    return {"train": train, "test": test}


def vocabulary(pairs, min_count=1):
    """Returns the tokens of titles and poems, the most frequent ones first.

    Args:
        pairs: list of pairs of a title and a poem.
        min_count: int. Rarer characters are left out.

    Returns:
        A list of str: `SPECIALS`, then single characters.
    """
    counts = collections.Counter("".join(t + p for t, p in pairs))
    found = [
        (-count, c)
        for c, count in counts.items()
        if count >= min_count and is_cjk(c)
    ]
    return [*SPECIALS, *(c for _, c in sorted(found))]


def _simplified(rows):
    """Returns different pairs of a title and a poem, in their order.

    Args:
        rows: pairs of a poem and a title in traditional characters.
    """
    if not rows:
        return []
    poems, titles = zip(*rows, strict=True)
    simplify = simplifier()
    titles = [" ".join(title.split()) for title in titles]
    pairs = zip(simplify(titles), simplify(list(poems)), strict=True)
    # a few simplified characters are in no block that `is_cjk` knows
    return [pair for pair in dict.fromkeys(pairs) if lines_of(pair[1])]
