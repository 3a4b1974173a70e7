"""A tenth of the Penn Treebank with its trees, as distributed by NLTK."""

import re
import zipfile

from su_models.data.dataset import Dataset, File

ARCHIVE = "treebank.zip"


def load_treebank_sample(paths):
    """Returns the trees, in the order of the newspaper.

    Args:
        paths: dict from the name of the archive to its path.

    Returns:
        A dict of the one split `all`, a dict of `trees`: lists as
        `read_trees` returns them.

    Raises:
        ValueError: if the archive or one of its files is damaged.
    """
    path = paths[ARCHIVE]
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(".mrg")]
            texts = [archive.read(n).decode("utf-8") for n in sorted(names)]
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(
            f"Not a whole zip file ({error}). Received: path={path}"
        ) from error
    return {"all": {"trees": [t for text in texts for t in read_trees(text)]}}


def read_trees(text):
    """Returns the trees of a bracketed text, e.g. `((S (NN dogs) (VB run)))`.

    Args:
        text: str, in the form of the Penn Treebank's `.mrg` files.

    Returns:
        A list of trees. A tree is a list: its label, then its subtrees; for
        a word, its part of speech, then the word. The example above gives
        `[["S", ["NN", "dogs"], ["VB", "run"]]]`.

    Raises:
        ValueError: if brackets do not match or a node has another form.
    """
    stack = [[]]
    for part in re.findall(r"[()]|[^()\s]+", text):
        if part == "(":
            stack.append([])
        elif part == ")" and len(stack) > 1:
            node = stack.pop()
            stack[-1].append(_checked(node, root=len(stack) == 1))
        elif part != ")" and len(stack) > 1:
            stack[-1].append(part)
        else:
            raise ValueError(
                f"Brackets that do not match. Received: {part!r} after "
                f"{len(stack[0])} trees"
            )
    if len(stack) > 1:
        raise ValueError(
            "Brackets that do not match. "
            f"Received: {len(stack) - 1} open at the end"
        )
    return stack[0]


def _checked(node, root):
    """Returns a node after checking its form; a root is unwrapped."""
    if root and len(node) == 1 and isinstance(node[0], list):
        return node[0]
    kinds = [type(part) for part in node]
    if kinds[:1] != [str] or kinds[1:] not in (
        [str],
        [list] * max(len(node) - 1, 1),
    ):
        raise ValueError(
            "A node must be a label with subtrees or one word. "
            f"Received: node={node}"
        )
    return node


TREEBANK_SAMPLE = Dataset(
    name="treebank_sample",
    description="3 914 sentences of the Wall Street Journal (sections 0 and "
    "1), 94 084 words and punctuation marks, with their syntax trees.",
    source="M. Marcus, B. Santorini, M. Marcinkiewicz, The Penn Treebank, "
    "1995; the fragment in https://github.com/nltk/nltk_data.",
    licence="10% fragment, (C) LDC 1995, under fair use to illustrate NLTK; "
    "for non-commercial use only",
    sizes={"all": 3_914},
    loader=load_treebank_sample,
    downloads=(
        File(
            ARCHIVE,
            "9da92d76c3666cfb6cddeaed0f7e86b344cce0f0928a286d439e555f19c37399",
            "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/"
            f"packages/corpora/{ARCHIVE}",
        ),
    ),
)
