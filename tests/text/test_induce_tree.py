"""Article: https://kexue.fm/archives/6621"""

import numpy as np
import pytest

from su_models.text import induce_tree


def greedy(distances, tokens):
    """The rule read literally: argmax, split, recurse."""
    if len(tokens) == 1:
        return tokens[0]
    k = int(np.argmax(distances))
    tree = tokens[k]
    if tokens[k + 1 :]:
        tree = [tree, greedy(distances[k + 1 :], tokens[k + 1 :])]
    if tokens[:k]:
        tree = [greedy(distances[:k], tokens[:k]), tree]
    return tree


def leaves(tree):
    return sum(map(leaves, tree), []) if isinstance(tree, list) else [tree]


def is_binary(tree):
    return not isinstance(tree, list) or (
        len(tree) == 2 and all(map(is_binary, tree))
    )


@pytest.mark.parametrize("levels", [2, 1000], ids=["ties", "no ties"])
def test_matches_the_rule(levels):
    random = np.random.default_rng(0)
    for n in range(1, 40):
        distances, tokens = random.integers(levels, size=n), list(range(n))
        tree = induce_tree(distances, tokens)
        assert tree == greedy(distances, tokens)
        assert leaves(tree) == tokens
        assert is_binary(tree)


def test_falling_distances_branch_to_the_right():
    assert induce_tree([4, 3, 2, 1], "abcd") == ["a", ["b", ["c", "d"]]]


def test_rising_distances_branch_to_the_left():
    assert induce_tree([1, 2, 3, 4], "abcd") == [[["a", "b"], "c"], "d"]


def test_the_first_of_equal_distances_splits():
    assert induce_tree([0, 0, 0], "abc") == ["a", ["b", "c"]]
    assert induce_tree([0, 1, 0, 1], "abcd") == ["a", ["b", ["c", "d"]]]


def test_a_single_token_is_its_own_tree():
    assert induce_tree([0.5], ["a"]) == "a"


@pytest.mark.parametrize("token", [None, "", (), 0])
def test_tokens_may_be_anything(token):
    tokens = [token, "b", token]
    assert induce_tree([1, 3, 2], tokens) == [token, ["b", token]]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_deep_tree_takes_no_deep_recursion(sign):
    n = 100_000
    tree, right = induce_tree(sign * np.arange(n), range(n)), sign < 0
    for i in range(n - 1):
        assert tree[0 if right else 1] == (i if right else n - 1 - i)
        tree = tree[1 if right else 0]
    assert tree == (n - 1 if right else 0)


@pytest.mark.parametrize(
    ("distances", "tokens", "received"),
    [
        ([], [], r"shape \(0,\), 0 tokens"),
        ([1, 2], ["a"], r"shape \(2,\), 1 tokens"),
        ([[1], [2]], ["a", "b"], r"shape \(2, 1\), 2 tokens"),
        (0.5, ["a"], r"shape \(\), 1 tokens"),
        ([1, float("nan")], ["a", "b"], r"distances=\[1, nan\]"),
        (["high", "low"], ["a", "b"], r"distances=\['high', 'low'\]"),
        ([None, 1j], ["a", "b"], r"distances=\[None, 1j\]"),
    ],
)
def test_what_has_no_tree_is_refused(distances, tokens, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}$"):
        induce_tree(distances, tokens)
