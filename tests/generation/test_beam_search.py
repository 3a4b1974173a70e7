"""Article: https://kexue.fm/archives/6933"""

import numpy as np
import pytest
from keras import ops

from su_models.backend.compile import compiled
from su_models.generation import BeamSearch, GreedySearch
from su_models.generation.beam_search import floored
from tests.generation import reference
from tests.generation.toy import FIRST, SIZE, run, score


@pytest.mark.parametrize("end_id", [None, 4, 7])
@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 3},
        {"beam_size": 4, "length_penalty": 0.0, "temperature": 0.6},
        {"beam_size": 3, "length_penalty": 2.0, "min_new_tokens": 3},
        {"beam_size": SIZE, "length_penalty": -1.0},
        {"beam_size": 2, "repetition_penalty": 1.5},
    ],
)
def test_keep_equals_a_loop_without_a_cache(options, end_id):
    n, k = 8, options["beam_size"]
    search = BeamSearch(n, end_id=end_id, num_return_sequences=k, **options)
    kwargs = {}
    if "repetition_penalty" in options:
        kwargs["history"] = np.eye(SIZE, dtype=bool)[FIRST]
    ids, scores, _ = run(search, **kwargs)
    for i, first in enumerate(FIRST):
        prompt = {"prompt": [first]} if kwargs else {}
        expected = reference.beam_search(
            score(first), n, end_id=end_id, **options, **prompt
        )
        assert len(expected) == k
        for j, (tokens, total) in enumerate(expected):
            assert ids[i, j].tolist() == reference.padded(tokens, n)
            np.testing.assert_allclose(scores[i, j], total, atol=1e-4)


def test_drop_counts_a_probability_of_0_like_bert4keras():
    log_probs = np.array([-1.0, -30.0, -300.0, -np.inf], "float32")
    found = ops.convert_to_numpy(floored(ops.convert_to_tensor(log_probs)))
    expected = np.log(np.exp(log_probs[:3].astype("float64")) + 1e-12)
    np.testing.assert_allclose(found[:3], expected, rtol=1e-6)
    assert found[3] == -np.inf  # a banned token


@pytest.mark.parametrize("beam_size", [2, 3])
def test_keep_goes_on_with_as_many_beams_when_some_end(beam_size):
    """Over tables of scores by step and last token, in which many end."""
    samples, n, size, end_id = 60, 6, 5, 1
    random = np.random.default_rng(3)
    tables = random.normal(scale=2.0, size=(samples, n, size, size))
    tables = tables.astype("float32")
    flat = ops.convert_to_tensor(tables.reshape(-1, size))
    sample = ops.arange(samples, dtype="int32")[:, None]

    def step(tokens, cache, index):
        at = (sample * n + index) * size + tokens
        return ops.take(flat, at, axis=0), cache

    search = BeamSearch(
        n, beam_size, end_id=end_id, num_return_sequences=beam_size
    )
    found = compiled(lambda x: tuple(search(step, x, ())))(
        np.zeros(samples, "int32")
    )
    ids, scores, _ = (ops.convert_to_numpy(x) for x in found)
    for i, table in enumerate(tables):

        def logits(tokens, table=table):
            return table[len(tokens), [0, *tokens][-1]]

        expected = reference.beam_search(logits, n, beam_size, end_id)
        for j, (tokens, total) in enumerate(expected):
            assert ids[i, j].tolist() == reference.padded(tokens, n)
            np.testing.assert_allclose(scores[i, j], total, atol=1e-4)


@pytest.mark.parametrize("end_id", [None, 4])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("rule", ["keep", "drop"])
def test_fewer_beams_are_a_value_of_the_program(rule, width, end_id):
    options = {"finished": rule, "end_id": end_id}
    ids, scores, _ = run(BeamSearch(8, 4, **options), width=width)
    expected = run(BeamSearch(8, width, **options))
    if width == 1:
        expected = run(GreedySearch(8, end_id=end_id))
    np.testing.assert_array_equal(ids, expected[0])
    if width > 1:
        np.testing.assert_allclose(scores, expected[1], atol=1e-5)


@pytest.mark.parametrize("end_id", [None, 4, 7, 1])
@pytest.mark.parametrize("minlen", [0, 3])
@pytest.mark.parametrize("beam_size", [1, 3, 5])
def test_drop_equals_the_rule_of_bert4keras(beam_size, end_id, minlen):
    n = 8
    search = BeamSearch(
        n, beam_size, "drop", end_id=end_id, min_new_tokens=minlen
    )
    ids, scores, _ = run(search)
    for i, first in enumerate(FIRST):
        tokens, total = reference.bert4keras_beam_search(
            score(first), n, beam_size, end_id, minlen
        )
        assert ids[i, 0].tolist() == reference.padded(tokens, n)
        np.testing.assert_allclose(scores[i, 0], total, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 0},
        {"finished": "keeps"},
        {"beam_size": 2, "num_return_sequences": 3},
        {"finished": "drop", "num_return_sequences": 2},
        {"length_penalty": "1"},
    ],
)
def test_bad_arguments_are_rejected(options):
    with pytest.raises(ValueError, match="Received: "):
        BeamSearch(3, **options)
