"""How much of one or two sequences fits, and which part of it."""

import numpy as np


def truncated_lengths(maxlen, first, second=None):
    """Returns the lengths that remain of sequences that share `maxlen`.

    As long as there is too much, the longer sequence loses a token, the first
    one if both are equally long.

    Args:
        maxlen: int. The sum of the lengths returned is at most this.
        first, second: lengths, integers or integer arrays; `second` may be
            None.

    Returns:
        A list of one or two of them.

    Example:

    >>> from su_models.text.truncation import truncated_lengths
    >>> [int(n) for n in truncated_lengths(9, 7, 5)]
    [4, 5]
    """
    if second is None:
        return [np.minimum(first, maxlen)]
    excess = np.maximum(first + second - maxlen, 0)
    alone = np.minimum(excess, np.abs(first - second))  # until they are equal
    both = excess - alone
    return [
        first - np.where(first > second, alone, 0) - (both + 1) // 2,
        second - np.where(first > second, 0, alone) - both // 2,
    ]


def kept_ends(length, kept, index):
    """Returns how many tokens are kept at the front and at the end.

    Tokens are taken out one by one at `index`, as `list.pop(index)` does.

    Args:
        length: how many there are, an integer or an integer array.
        kept: how many are to remain.
        index: int, from the end if negative.
    """
    front = index if index >= 0 else kept + index + 1
    front = np.where(kept < length, front, length)
    return front, kept - front
