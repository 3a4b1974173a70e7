"""Batches of sequences as one flat array and the lengths of its rows."""

import numpy as np

from su_models.text.truncation import kept_ends


def cut_rows(ids, counts, kept, index):
    """Shortens rows like repeated calls of `list.pop(index)`.

    Args:
        ids: `(total,)`, the concatenated rows.
        counts: `(rows,)`, their lengths.
        kept: `(rows,)`, their lengths afterwards.
        index: int, the index at which tokens are dropped.

    Returns:
        `(ids, counts)` of the shortened rows.
    """
    if (kept == counts).all():
        return ids, counts
    front, end = kept_ends(counts, kept, index)
    start = np.cumsum(counts) - counts
    column = np.arange(len(ids)) - np.repeat(start, counts)  # within its row
    chosen = column < np.repeat(front, counts)
    chosen |= column >= np.repeat(counts - end, counts)
    return ids[chosen], kept


def join_rows(parts, length=None):
    """Concatenates the parts of each row, and pads the end with 0.

    Args:
        parts: list of `(ids, counts)`.
        length: optional int, the number of columns. Defaults to the length of
            the longest row.

    Returns:
        `(ids, numbers)`, int32 `(rows, columns)`; `numbers` holds the index
        of the part of each id.

    Raises:
        ValueError: if a row is longer than `length`.
    """
    total = sum(counts for _, counts in parts)
    longest = int(total.max(initial=0))
    if length is None:
        length = longest
    if longest > length:
        raise ValueError(
            "`length` must be at least that of the longest row; `maxlen` "
            "shortens rows. "
            f"Received: length={length}, a row of {longest}"
        )
    ids = np.zeros((len(total), length), "int32")
    numbers = np.zeros_like(ids)
    column, start = np.arange(length), 0
    for number, (part, counts) in enumerate(parts):
        stop = start + counts
        here = column < stop[:, None]  # (rows, columns)
        if number:
            here &= column >= start[:, None]
        ids[here] = part
        numbers[here] = number
        start = stop
    return ids, numbers
