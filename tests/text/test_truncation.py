import numpy as np
import pytest

from su_models.text.truncation import kept_ends, truncated_lengths


def popped(maxlen, indices, *sequences):
    """The longest sequence, the first of several, loses one at a time."""
    while sum(map(len, sequences)) > maxlen:
        longest = int(np.argmax([len(s) for s in sequences]))
        sequences[longest].pop(indices[longest])
    return sequences


@pytest.mark.parametrize("maxlen", [1, 2, 7, 10, 30])
def test_lengths_are_those_of_popping(maxlen):
    first, second = (n.ravel() for n in np.indices((12, 12)))
    both = truncated_lengths(maxlen, first, second)
    for a, b, x, y in zip(first, second, *both, strict=True):
        left = popped(maxlen, (-1, -1), [0] * a, [0] * b)
        assert (x, y) == tuple(map(len, left))
        assert truncated_lengths(maxlen, int(a), int(b)) == [x, y]
    (one,) = truncated_lengths(maxlen, first)
    np.testing.assert_array_equal(one, np.minimum(first, maxlen))


@pytest.mark.parametrize("index", [-4, -2, -1, 0, 1, 3])
def test_what_is_kept_is_what_popping_leaves(index):
    for length in range(9):
        for kept in range(length + 1):
            if length > kept and kept < max(index, -index - 1):
                continue  # nothing stands there to be taken
            tokens = list(range(length))
            while len(tokens) > kept:
                tokens.pop(index)
            front, end = kept_ends(length, kept, index)
            whole = list(range(length))
            assert whole[: int(front)] + whole[length - int(end) :] == tokens
