"""Batches of sequences as one flat array and the length of each row."""

import numpy as np

from su_models.text.truncation import kept_ends


def cut_rows(ids, counts, kept, index):
    """Shortens rows, as `list.pop(index)` would, one token after the other.

    Args:
        ids: `(total,)`, the rows one after the other.
        counts: `(rows,)`, their lengths.
        kept: `(rows,)`, their lengths afterwards.
        index: int, where tokens are taken out.

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
    """Sets the parts of each row side by side, and pads at the end with 0.

    Args:
        parts: list of `(ids, counts)`.
        length: optional int, the number of columns. Defaults to the longest
            row's.

    Returns:
        `(ids, numbers)`, int32 `(rows, columns)`; `numbers` says of which
        part an id is.

    Raises:
        ValueError: if a row is longer than `length`.
    """
    total = sum(counts for _, counts in parts)
    longest = int(total.max(initial=0))
    if length is None:
        length = longest
    if longest > length:
        raise ValueError(
            "`length` must be at least the longest row's, or `maxlen` given. "
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
