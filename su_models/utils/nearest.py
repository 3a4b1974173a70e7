"""The known name nearest to an unknown name."""


def nearest(word, words):
    """Returns the word at the smallest edit distance, or None."""
    folded = word.casefold()
    return min(
        words,
        key=lambda other: edit_distance(folded, other.casefold()),
        default=None,
    )


def edit_distance(a, b):
    """Returns the least number of edits of characters that turn a into b.

    Example:

    >>> from su_models.utils.nearest import edit_distance
    >>> edit_distance("Lokahed", "Lookahead")
    2
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            change = above[j - 1] + (x != y)
            row.append(min(change, above[j] + 1, row[j - 1] + 1))
    return row[-1]
