"""Truncation of one or two sequences to a common length."""

import numpy as np


def truncated_lengths(maxlen, first, second=None):
    """Returns the lengths of sequences after truncation to a total `maxlen`.

    While the total is too large, the longer sequence loses a token (the first
    one, if both are equally long).

    Args:
        maxlen: int. Upper bound of the sum of the returned lengths.
        first, second: lengths, integers or integer arrays; `second` may be
            None.

    Returns:
        A list of one or two lengths.

    Example:

    >>> from su_models.text.truncation import truncated_lengths
    >>> [int(n) for n in truncated_lengths(9, 7, 5)]
    [4, 5]
    """
    if second is None:
        return [np.minimum(first, maxlen)]
    excess = np.maximum(first + second - maxlen, 0)
    # the longer one is shortened alone until both are equal
    alone = np.minimum(excess, np.abs(first - second))
    both = excess - alone
    return [
        first - np.where(first > second, alone, 0) - (both + 1) // 2,
        second - np.where(first > second, 0, alone) - both // 2,
    ]


def kept_ends(length, kept, index):
    """Returns the numbers of tokens kept at the front and at the end.

    Tokens are dropped one by one at `index`, like by `list.pop(index)`.

    Args:
        length: number of tokens, an integer or an integer array.
        kept: number of tokens to keep.
        index: int; negative values count from the end.
    """
    front = index if index >= 0 else kept + index + 1
    front = np.where(kept < length, front, length)
    return front, kept - front
