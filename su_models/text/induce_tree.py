"""Builds a tree from the levels of a sequence's tokens."""

import numpy as np


def induce_tree(distances, tokens):
    """Builds a tree by splitting a sequence recursively at its highest level.

    Article: https://kexue.fm/archives/6621#无监督句法
        《ON-LSTM：用有序神经元表达层次结构》
    Paper: https://arxiv.org/abs/1810.09536

    With k the index of the largest distance (the first one, if several are
    equal), the greedy rule is

        tree(x) = [tree(x_<k), [x_k, tree(x_>k)]]

    where empty parts are omitted, and a single token is its own tree. The
    tree is binary and its leaves are the tokens, in their order.

    The distance of a token measures how little of the history it needs: pass
    the distances of `su_models.layers.ONLSTM` for one sequence without its
    padding. The time is proportional to the number of tokens, also for deep
    trees.

    Args:
        distances: numbers, `(n,)`: one for each token.
        tokens: list or array of `n` tokens.

    Returns:
        Nested lists of two; or the token, if there is only one.

    Raises:
        ValueError: if there are no tokens, or not one number for each token.

    Example:

    >>> su_models.text.induce_tree([0.3, 0.1, 0.6, 0.2], "the cat sat down"
    ...     .split())
    [['the', 'cat'], ['sat', 'down']]
    """
    distances, tokens = _checked(distances, tokens)
    # Tokens whose right part is not known yet, from the root down, each with
    # its distance and its left part. An empty part is an empty tuple, other
    # parts are tuples of one tree, since a token may be any value, even None.
    spine = []
    for distance, token in zip(distances, tokens, strict=True):
        part = ()
        while spine and spine[-1][0] < distance:
            part = _join(*spine.pop()[1:], part)
        spine.append((distance, part, token))
    part = ()
    while spine:
        part = _join(*spine.pop()[1:], part)
    return part[0]


def _join(left, token, right):
    """Returns [left, [token, right]] of parts, as a part."""
    tree = [token, right[0]] if right else token
    return ([left[0], tree],) if left else (tree,)


def _checked(distances, tokens):
    """Returns the distances as an array, and the tokens as a list."""
    tokens = list(tokens)
    try:
        numbers = np.asarray(distances, "float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`distances` must be numbers. Received: distances={distances!r}"
        ) from error
    if numbers.ndim != 1 or len(numbers) != len(tokens) or not tokens:
        raise ValueError(
            "There must be at least one token, and one distance for each. "
            f"Received: distances of shape {numbers.shape}, "
            f"{len(tokens)} tokens"
        )
    if np.isnan(numbers).any():
        raise ValueError(
            f"`distances` must not be NaN. Received: distances={distances!r}"
        )
    return numbers, tokens
