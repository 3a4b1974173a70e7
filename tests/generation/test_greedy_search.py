"""Article: https://kexue.fm/archives/6933"""

import numpy as np
import pytest

from su_models.generation import GreedySearch
from tests.generation import reference
from tests.generation.toy import FIRST, SIZE, run, score


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"end_id": 4},
        {"end_id": 4, "min_new_tokens": 5},
        {"repetition_penalty": 1.7},
        {"temperature": 0.5, "end_id": 2},
    ],
)
def test_equals_a_loop_without_a_cache(options):
    kwargs = {}
    if "repetition_penalty" in options:
        kwargs["history"] = np.eye(SIZE, dtype=bool)[FIRST]
    ids, scores, status = run(GreedySearch(9, **options), **kwargs)
    for i, first in enumerate(FIRST):
        prompt = {"prompt": [first]} if kwargs else {}
        tokens, total = reference.greedy(score(first), 9, **options, **prompt)
        assert ids[i, 0].tolist() == reference.padded(tokens, 9)
        np.testing.assert_allclose(scores[i, 0], total, atol=1e-4)
    assert status.tolist() == [-1, -1, -1]


def test_a_limit_is_a_value_of_the_program():
    ids = run(GreedySearch(9), limit=4)[0]
    np.testing.assert_array_equal(ids[..., :4], run(GreedySearch(4))[0])
    assert not ids[..., 4:].any()
