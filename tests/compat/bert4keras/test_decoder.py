"""Article: https://kexue.fm/archives/6933

Results and random numbers equal those of bert4keras
(tests/parity/test_compat.py).
"""

import itertools

import keras
import numpy as np
import pytest

from su_models.compat.bert4keras.decoder import AutoRegressiveDecoder, softmax

TABLE = np.random.default_rng(0).normal(size=(6, 6)) * 2  # token to logits
END = 5


class Chain(AutoRegressiveDecoder):
    """Each token depends on the previous one only."""

    @AutoRegressiveDecoder.wraps("logits")
    def predict(self, inputs, output_ids, states):
        last = output_ids[:, -1] if output_ids.shape[1] else inputs[0][:, 0]
        return TABLE[last]


def score(first, tokens):
    """The log-probability of a sequence, one token after the other."""
    total = 0.0
    for before, token in itertools.pairwise([first, *tokens]):
        total += np.log(softmax(TABLE[before])[token] + 1e-12)
    return total


def test_softmax_of_large_numbers():
    y = softmax(np.array([[1000.0, 1000.0, -1000.0]]))
    np.testing.assert_allclose(y, [[0.5, 0.5, 0.0]])


def test_beam_search_with_all_prefixes_finds_the_best():
    decoder = Chain(start_id=None, end_id=-1, maxlen=2)
    found = decoder.beam_search([[2]], topk=6)  # all sequences of one token
    every = itertools.product(range(6), repeat=2)
    best = max(every, key=lambda tokens: score(2, tokens))
    assert found.tolist() == list(best)


def test_greedy_search_takes_the_likeliest_token():
    decoder = Chain(start_id=None, end_id=-1, maxlen=4)
    expected, last = [], 2
    for _ in range(4):
        last = int(TABLE[last].argmax())
        expected.append(last)
    assert decoder.beam_search([[2]], topk=1).tolist() == expected


def test_the_first_token_is_part_of_the_result():
    decoder = Chain(start_id=3, end_id=-1, maxlen=2)
    assert decoder.beam_search([[2]], topk=1)[0] == 3
    assert {ids[0] for ids in decoder.random_sample([[2]], 4)} == {3}


class Scripted(AutoRegressiveDecoder):
    """Says the same tokens to every prefix."""

    words = (1, END, 2, END, 3, 3)

    @AutoRegressiveDecoder.wraps("probas", use_states=True)
    def predict(self, inputs, output_ids, states):
        probas = np.full((len(output_ids), 6), 1e-9)
        probas[:, self.words[states]] = 1.0
        return probas, states + 1


@pytest.mark.parametrize(
    ("minlen", "min_ends", "expected"),
    [
        (1, 1, [1, END]),
        (3, 1, [1, END, 2, END]),
        (1, 2, [1, END, 2, END]),
        (9, 1, [1, END, 2, END, 3, 3]),
    ],
)
def test_the_end_counts_from_minlen_on(minlen, min_ends, expected):
    decoder = Scripted(None, END, maxlen=6, minlen=minlen)
    kwargs = {"states": 0, "min_ends": min_ends}
    assert decoder.beam_search([[0]], 2, **kwargs).tolist() == expected
    samples = decoder.random_sample([[0]], 3, topk=1, **kwargs)
    assert [ids.tolist() for ids in samples] == [expected] * 3


class Uneven(AutoRegressiveDecoder):
    """One of several beams ends at once, with a lower probability."""

    seen = None

    @AutoRegressiveDecoder.wraps("probas")
    def predict(self, inputs, output_ids, states):
        assert len(inputs[0]) == len(output_ids)
        probas = np.tile([0.6, 0.0, 0.0, 0.0, 0.0, 0.4], (len(output_ids), 1))
        self.seen = len(output_ids)
        return probas


def test_complete_beams_that_are_not_the_best_are_dropped():
    decoder = Uneven(None, END, maxlen=3)
    found = decoder.beam_search([[0]], topk=2)
    assert found.tolist() == [0, 0, 0]
    assert decoder.seen == 1


def test_sampling_follows_the_probabilities():
    np.random.seed(0)
    decoder = Chain(start_id=None, end_id=-1, maxlen=1)
    tokens = [ids[0] for ids in decoder.random_sample([[2]], 4000)]
    counts = np.bincount(tokens, minlength=6) / 4000
    np.testing.assert_allclose(counts, softmax(TABLE[2]), atol=0.03)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_logits(temperature):
    decoder = Chain(start_id=None, end_id=-1, maxlen=1)
    prefix = np.array([[2]])
    probas, _ = decoder.predict([prefix], prefix, None, temperature, "probas")
    expected = softmax(TABLE[2] / temperature)
    np.testing.assert_allclose(probas[0], expected)
    probas, _ = Uneven(None, END, 3).predict(
        [prefix], prefix, None, temperature
    )
    powers = np.array([0.6, 0.4]) ** (1 / temperature)
    np.testing.assert_allclose(probas[0, [0, 5]], powers / powers.sum())


@pytest.mark.parametrize(
    ("topk", "topp", "kept"),
    [(2, None, 2), (None, 1e-9, 1), (None, 1.0, 6), (3, 1e-9, 1)],
)
def test_top_k_and_top_p_keep_the_likeliest(topk, topp, kept):
    np.random.seed(1)
    decoder = Chain(start_id=None, end_id=-1, maxlen=1)
    drawn = decoder.random_sample([[2]], 300, topk=topk, topp=topp)
    likeliest = np.argsort(-TABLE[2])[:kept]
    assert {int(ids[0]) for ids in drawn} <= {*likeliest.tolist()}


def test_last_token_of_a_model():
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    model = keras.Model(inputs, [x, keras.layers.Dense(3)(x)])
    decoder = Chain(None, END, 3)
    last = decoder.last_token(model)
    assert decoder.last_token(model) is last
    ids = [[1, 2, 3], [4, 0, 5]]
    whole = model.predict_on_batch(np.array(ids))
    for one, all_steps in zip(last.predict([ids]), whole, strict=True):
        np.testing.assert_allclose(one, all_steps[:, -1], rtol=1e-6)
    single = keras.Model(inputs, x)
    y = decoder.last_token(single).predict(np.array(ids))
    np.testing.assert_allclose(y, whole[0][:, -1], rtol=1e-6)


def test_predict_must_be_defined_and_wrapped_rightly():
    with pytest.raises(NotImplementedError, match="predict"):
        AutoRegressiveDecoder(None, END, 3).predict([], np.zeros((1, 0)))
    with pytest.raises(ValueError, match="Received: default_rtype='scores'"):
        AutoRegressiveDecoder.wraps("scores")
