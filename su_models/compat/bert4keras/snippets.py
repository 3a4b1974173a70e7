"""bert4keras' `snippets`: helpers for data, decoding and files."""

import re

import numpy as np

from su_models.checkpoints.resize import resize
from su_models.compat.bert4keras.decoder import AutoRegressiveDecoder, softmax
from su_models.compat.bert4keras.files import open
from su_models.compat.bert4keras.generator import DataGenerator
from su_models.compat.bert4keras.parallel import (
    parallel_apply,
    parallel_apply_generator,
)
from su_models.compat.bert4keras.web_serving import WebServing
from su_models.text.characters import lower_and_decompose, strip_marks
from su_models.text.pad_sequences import pad_sequences as sequence_padding
from su_models.text.viterbi_decoder import ViterbiDecoder

__all__ = [
    "AutoRegressiveDecoder",
    "DataGenerator",
    "ViterbiDecoder",
    "WebServing",
    "convert_to_str",
    "convert_to_unicode",
    "delete_arguments",
    "insert_arguments",
    "is_one_of",
    "is_py2",
    "is_string",
    "longest_common_subsequence",
    "longest_common_substring",
    "lowercase_and_normalize",
    "open",
    "orthogonally_resize",
    "parallel_apply",
    "parallel_apply_generator",
    "sequence_padding",
    "softmax",
    "strQ2B",
    "string_matching",
    "text_segmentate",
    "to_array",
    "truncate_sequences",
    "uniout",
]

is_py2 = False
uniout = None  # bert4keras' import of it has no effect on Python 3


# ---- arrays


def to_array(*args):
    """Returns an array of each argument: one, or a list."""
    arrays = [np.array(a) for a in args]
    return arrays[0] if len(arrays) == 1 else arrays


def orthogonally_resize(a, new_shape, window=2):
    """Returns an array of another shape and of the same norm.

    Args:
        a: array.
        new_shape: tuple of int.
        window: 2, the number of neighbours that stay together.
    """
    if window != 2:
        raise ValueError(f"`window` must be 2. Received: window={window}")
    return resize(a, new_shape)


def truncate_sequences(maxlen, indices, *sequences):
    """Shortens lists in place to a total length, the longest ones first.

    Args:
        maxlen: int. Largest total length.
        indices: the index at which a list loses an item, or one for each.
        *sequences: lists; empty ones and None are ignored.

    Returns:
        The lists that are not empty at first.
    """
    sequences = [s for s in sequences if s]
    if not isinstance(indices, (list, tuple)):
        indices = [indices] * len(sequences)
    while sum(map(len, sequences)) > maxlen:
        i = int(np.argmax([len(s) for s in sequences]))
        sequences[i].pop(indices[i])
    return sequences


# ---- text


def is_string(s):
    """Tells whether s is a str."""
    return isinstance(s, str)


def convert_to_unicode(text, encoding="utf-8", errors="ignore"):
    """Returns bytes as a str; a str remains."""
    return text.decode(encoding, errors) if isinstance(text, bytes) else text


convert_to_str = convert_to_unicode


def lowercase_and_normalize(text):
    """Returns a text in lower case, without accents."""
    return strip_marks(lower_and_decompose(text))


def strQ2B(ustring):  # noqa: N802
    """Returns a text whose full-width characters are ASCII."""
    full_width = {code: code - 65248 for code in range(65281, 65375)}
    return ustring.translate({12288: 32, **full_width})


def string_matching(s, keywords):
    """Tells whether one of several regular expressions is found in s."""
    return any(re.search(k, s) for k in keywords)


def text_segmentate(text, maxlen, seps="\n", strips=None):
    """Returns a text as a list of pieces, cut at separators.

    Args:
        text: str.
        maxlen: int. Length that a piece should not exceed.
        seps: str. Separators, the best first; a later one is used only in a
            piece that is still too long.
        strips: optional str, removed from both ends of each piece.
    """
    text = text.strip().strip(strips)
    if not seps or len(text) <= maxlen:
        return [text]
    first, *parts = text.split(seps[0])
    pieces, joined = [], first
    for part in parts:
        joined += seps[0]
        if part and len(joined) + len(part) >= maxlen:
            pieces.append(joined)
            joined = ""
        joined += part
    pieces.append(joined)
    return [
        cut
        for piece in pieces
        if piece
        for cut in text_segmentate(piece, maxlen, seps[1:], strips)
    ]


def longest_common_substring(source, target):
    """Returns the length of the longest common part, and where it stands.

    Returns:
        A pair: the length; and the tuple of start and end in `source`, and of
        start and end in `target`.
    """
    best, span = 0, (0, 0, 0, 0)
    above = [0] * (len(target) + 1)
    for i, a in enumerate(source, 1):
        row = [0]
        for j, b in enumerate(target, 1):
            row.append(above[j - 1] + 1 if a == b else 0)
            if row[j] > best:
                best, span = row[j], (i - row[j], i, j - row[j], j)
        above = row
    return best, span


def longest_common_subsequence(source, target):
    """Returns the length of the longest common subsequence, and its places.

    Returns:
        A pair: the length, and the list of pairs of an index in `source` and
        one in `target`.
    """
    n, m = len(source), len(target)
    length = np.zeros((n + 1, m + 1), int)
    for i in range(n):
        for j in range(m):
            length[i + 1, j + 1] = (
                length[i, j] + 1
                if source[i] == target[j]
                else max(length[i + 1, j], length[i, j + 1])
            )
    pairs, i, j = [], n, m
    while i and j:
        if source[i - 1] == target[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif length[i, j - 1] > length[i - 1, j]:
            j -= 1
        else:
            i -= 1
    return int(length[n, m]), pairs[::-1]


# ---- Python


def is_one_of(x, ys):
    """Tells whether x is, not only equals, one of several objects."""
    return any(x is y for y in ys)


def insert_arguments(**arguments):
    """Returns a decorator that makes arguments of `__init__` attributes."""

    def decorate(function):
        def made(self, *args, **kwargs):
            for name, default in arguments.items():
                setattr(self, name, kwargs.pop(name, default))
            return function(self, *args, **kwargs)

        return made

    return decorate


def delete_arguments(*arguments):
    """Returns a decorator that rejects arguments of `__init__`."""

    def decorate(function):
        def made(self, *args, **kwargs):
            for name in arguments:
                if name in kwargs:
                    raise TypeError(
                        f"{type(self).__name__} got an unexpected keyword "
                        f"argument {name!r}"
                    )
            return function(self, *args, **kwargs)

        return made

    return decorate
