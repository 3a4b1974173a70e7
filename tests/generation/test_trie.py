"""Article: https://kexue.fm/archives/7867"""

import numpy as np
import pytest
from keras import ops

from su_models.generation import BeamSearch, GreedySearch, Trie
from tests.generation import reference
from tests.generation.toy import FIRST, SIZE, run, score

SEQUENCES = [[3, 4], [3, 5, 6], [3, 5, 1, 2], [10], [0, 9]]
END = 7


def allowed(tokens):
    """The tokens after which a sequence, or its end, may follow."""
    n = len(tokens)
    found = {s[n] for s in SEQUENCES if len(s) > n and s[:n] == tokens}
    return found | ({END} if tokens in SEQUENCES else set())


def test_allowed_tokens_are_the_children_of_a_node():
    trie = Trie(SEQUENCES)
    for sequence in [*SEQUENCES, [3, 5], [3]]:
        node = ops.zeros((1, 1), "int32")
        for token in sequence:
            node = trie.advance(node, ops.full((1, 1), token, "int32"))
        mask = ops.convert_to_numpy(trie.allowed(node, SIZE, END))
        assert set(np.flatnonzero(mask)) == allowed(sequence)


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_only_the_sequences_are_generated(name):
    options = {"end_id": END, "allowed_tokens": Trie(SEQUENCES)}
    if name == "greedy":
        ids, scores, status = run(GreedySearch(6, **options))
    else:
        ids, scores, status = run(BeamSearch(6, 3, **options))
    assert status.tolist() == [-1, -1, -1]
    for i, first in enumerate(FIRST):
        given = {"end_id": END, "allowed": allowed}
        if name == "greedy":
            tokens, total = reference.greedy(score(first), 6, **given)
        else:
            tokens, total = reference.beam_search(score(first), 6, 3, **given)[
                0
            ]
        assert tokens[:-1] in SEQUENCES
        assert ids[i, 0].tolist() == reference.padded(tokens, 6)
        np.testing.assert_allclose(scores[i, 0], total, atol=1e-4)


def test_without_an_end_a_whole_sequence_allows_nothing():
    status = run(GreedySearch(6, allowed_tokens=Trie([[3, 4]])))[2]
    assert status.tolist() == [2 * 2 + 1] * 3  # nothing, in step 2


@pytest.mark.parametrize("sequences", [[], [[]], [[1, -1]], [[1.5]], [[True]]])
def test_bad_sequences_are_rejected(sequences):
    with pytest.raises(ValueError, match="Received: "):
        Trie(sequences)
