"""Article: https://kexue.fm/archives/6933"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.generation import (
    BeamSearch,
    GreedySearch,
    RandomSampling,
    Trie,
)
from su_models.generation.base import Search, failure
from tests.generation import reference, toy
from tests.generation.toy import FIRST, SIZE, run, score


def even_after_odd(tokens, step):
    """Allows tokens of another parity than the last one."""
    index = ops.maximum(step - 1, 0)
    shape = (ops.shape(tokens)[0], 1)
    last = ops.slice(tokens, (0, index), shape)
    last = ops.where(step == 0, 1, last)
    return (ops.arange(SIZE, dtype="int32") + last) % 2 == 1


def allowed(tokens):
    last = tokens[-1] if tokens else 1
    return {t for t in range(SIZE) if (t + last) % 2 == 1}


@pytest.mark.parametrize("rows", [1, 3])
def test_a_function_of_the_tokens_so_far_restricts_the_next(rows):
    options = {"allowed_tokens": even_after_odd, "end_id": 4}
    if rows == 1:
        ids = run(GreedySearch(6, **options))[0]
    else:
        ids = run(BeamSearch(6, rows, **options))[0]
    for i, first in enumerate(FIRST):
        given = {"allowed": allowed, "end_id": 4}
        if rows == 1:
            tokens = reference.greedy(score(first), 6, **given)[0]
        else:
            tokens = reference.beam_search(score(first), 6, rows, **given)[0][0]
        assert ids[i, 0].tolist() == reference.padded(tokens, 6)


@pytest.mark.parametrize(
    "search",
    [GreedySearch(6), BeamSearch(6, 2), BeamSearch(6, 2, "drop")],
    ids=["greedy", "keep", "drop"],
)
def test_nan_scores_end_a_sample_with_its_step(search, monkeypatch):
    plain = toy.step

    def step(tokens, cache, index):
        logits, cache = plain(tokens, cache, index)
        sample = ops.reshape(ops.arange(3), (-1, 1, 1))
        bad = (index == 2) & (sample == 1)
        return ops.where(bad, float("nan"), logits), cache

    expected = run(search)[0]
    monkeypatch.setattr(toy, "step", step)
    ids, _, status = run(search)
    assert status.tolist() == [-1, 4, -1]
    assert failure(status[0]) is None
    assert failure(status[1])[0] == 2 and "NaN" in failure(status[1])[1]
    np.testing.assert_array_equal(ids[::2], expected[::2])


@pytest.mark.parametrize(
    "scores", [[np.inf, 0.0, 0.0], [-np.inf] * 3, [3e38, -3e38, 0.0]]
)
@pytest.mark.parametrize(
    "search",
    [
        GreedySearch(3, temperature=1e-3),
        BeamSearch(3, 2, temperature=1e-3),
        BeamSearch(3, 2, "drop", temperature=1e-3),
    ],
)
def test_infinite_scores_end_a_sample_with_their_step(search, scores):
    values = np.zeros((2, search.rows, 3), "float32")
    values[1, :] = scores

    def step(tokens, cache, index):
        now = ops.where(index == 1, ops.convert_to_tensor(values), 0.0)
        return now, cache

    status = search(step, np.zeros(2, "int32"), ()).status
    status = ops.convert_to_numpy(status)
    assert failure(status[0]) is None
    assert failure(status[1]) == (1, "the model's scores are NaN or infinite")


@pytest.mark.parametrize(
    ("search", "match"),
    [
        (GreedySearch(3, end_id=3), "end_id=3"),
        (GreedySearch(3, allowed_tokens=Trie([[1, 3]])), "Trie with 3"),
        (BeamSearch(3, 4), "beam_size=4"),
    ],
)
def test_tokens_outside_the_vocabulary_are_rejected(search, match):
    def step(tokens, cache, index):
        return ops.zeros((1, search.rows, 3)), cache

    with pytest.raises(ValueError, match=match):
        search(step, np.zeros(1, "int32"), ())


def test_an_additive_mask_is_rejected():
    def allowed(tokens, step):
        return ops.zeros((1, 3))

    def step(tokens, cache, index):
        return ops.zeros((1, 1, 3)), cache

    search = GreedySearch(3, allowed_tokens=allowed)
    with pytest.raises(ValueError, match="`allowed_tokens` must be boolean"):
        search(step, np.zeros(1, "int32"), ())


def test_allowing_nothing_ends_a_sample_with_its_step():
    def allowed(tokens, step):
        return ops.ones((1, SIZE), "bool") & (step < 3)

    status = run(GreedySearch(6, allowed_tokens=allowed))[2]
    assert {failure(s)[0] for s in status} == {3}
    assert "allowed_tokens" in failure(status[0])[1]


def test_the_loop_ends_with_the_last_sample():
    steps = []

    def count(tokens, step):
        steps.append(int(step))
        return ops.ones((1, SIZE), "bool")

    if keras.config.backend() != "torch":
        pytest.skip("only an eager loop can be counted")
    search = GreedySearch(30, end_id=5, allowed_tokens=count)
    ids = search(toy.step, FIRST[::2], toy.empty(1, 2)).ids
    ends = ops.convert_to_numpy(ids) == 5
    assert ends.any(-1).all() and len(steps) == ends.argmax(-1).max() + 1 < 30


def test_a_state_may_be_advanced_in_parts():
    search = GreedySearch(6, end_id=4)
    state = search.begin(FIRST, toy.empty(1))
    for limit in range(1, 7):
        state = search.advance(toy.step, state, limit)
    ids = ops.convert_to_numpy(search.end(state).ids)
    np.testing.assert_array_equal(ids, run(search)[0])


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 0},
        {"end_id": -1},
        {"min_new_tokens": 4},
        {"temperature": 0},
        {"repetition_penalty": 0},
        {"allowed_tokens": [[1, 2]]},
    ],
)
def test_bad_arguments_are_rejected(options):
    with pytest.raises(ValueError, match="Received: "):
        Search(**{"max_new_tokens": 3, **options})


def test_a_penalty_needs_the_history():
    with pytest.raises(ValueError, match="Received: repetition_penalty=2.0"):
        run(GreedySearch(3, repetition_penalty=2.0))


def test_a_mask_of_another_shape_is_rejected():
    def allowed(tokens, step):
        return ops.ones((2, SIZE), "bool")

    with pytest.raises(ValueError, match="Received: allowed_tokens of shape"):
        run(
            RandomSampling(6, allowed_tokens=allowed),
            uniforms=np.zeros((3, 1, 6)),
        )


@pytest.mark.parametrize("name", ["choose", "pick"])
def test_hooks_of_a_subclass_are_missing_by_name(name):
    from su_models.generation.base import RowSearch

    arguments = (None, None, None) if name == "choose" else (None, None)
    cls = Search if name == "choose" else RowSearch
    with pytest.raises(NotImplementedError, match=name):
        getattr(cls(3), name)(*arguments)
