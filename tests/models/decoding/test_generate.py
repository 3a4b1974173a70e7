"""Article: https://kexue.fm/archives/6933"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.generation import Trie
from su_models.models import generate
from su_models.models.decoding.prompts import uniforms
from tests.generation import reference
from tests.models.decoding.whole import PROMPTS, build, scorer

PADDED = np.array([[3, 9, 4, 22, 7], [8, 1, 0, 0, 0], [5, 30, 2, 17, 0]])


@pytest.fixture(scope="module")
def model():
    return build("roformer-unilm")


@pytest.fixture(scope="module")
def gpt2():
    return build("gpt2")


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 1.0},
        {"top_k": 5, "top_p": 0.9, "temperature": 1.5, "end_id": 6},
    ],
)
def test_sampling_equals_a_loop_with_the_same_numbers(model, options):
    ids, scores = generate(
        model,
        PROMPTS,
        max_new_tokens=5,
        num_return_sequences=2,
        seed=4,
        return_scores=True,
        **options,
    )
    u = uniforms(4, 3, (2, 5))
    for i, prompt in enumerate(PROMPTS):
        score = scorer(model, prompt, True)
        for j in range(2):
            tokens, total = reference.sample(score, 5, u[i, j], **options)
            assert ids[i, j].tolist() == reference.padded(tokens, 5)
            np.testing.assert_allclose(scores[i, j], total, atol=1e-3)


def test_a_padded_batch_gives_what_each_prompt_gives_alone(model):
    options = {"max_new_tokens": 5, "top_p": 1.0, "return_scores": True}
    seeds = [5, 9, 2]
    together = generate(model, PADDED, seed=seeds, **options)
    for i, prompt in enumerate(PROMPTS):
        ids, scores = generate(model, [prompt], seed=seeds[i], **options)
        assert ids[0].tolist() == together[0][i].tolist()
        np.testing.assert_allclose(scores[0], together[1][i], atol=1e-4)


def test_what_follows_a_given_length_is_ignored(gpt2):
    options = {"max_new_tokens": 4, "prompt_lengths": [5, 2, 4]}
    rubbish = np.where(PADDED == 0, 11, PADDED)
    np.testing.assert_array_equal(
        generate(gpt2, rubbish, **options), generate(gpt2, PADDED, **options)
    )


def test_an_id_0_may_be_a_token_of_the_prompt():
    llama = build("llama")
    ids = generate(llama, [[0, 0]], max_new_tokens=3, prompt_lengths=[2])
    score = scorer(llama, [0, 0])
    assert ids[0].tolist() == reference.greedy(score, 3)[0]


def test_segments_of_the_prompt_are_those_given():
    bert = build("bert-lm")
    segments = np.where(PADDED > 0, [[0, 1, 1, 1, 1]], 0)
    ids, scores = generate(
        bert, PADDED, segments, max_new_tokens=3, return_scores=True
    )

    def score(tokens):
        whole = np.array([[*PROMPTS[0], *tokens]])
        new = np.array([[0, 1, 1, 1, 1] + [1] * len(tokens)])
        return np.log(ops.convert_to_numpy(bert([whole, new]))[0, -1])

    tokens, total = reference.greedy(score, 3)
    assert ids[0].tolist() == tokens
    np.testing.assert_allclose(scores[0], total, atol=1e-4)


def test_drop_is_the_rule_of_bert4keras(model):
    ids = generate(
        model,
        PROMPTS,
        max_new_tokens=6,
        beam_size=3,
        finished="drop",
        end_id=6,
    )
    for i, prompt in enumerate(PROMPTS):
        score = scorer(model, prompt, True)
        tokens, _ = reference.bert4keras_beam_search(score, 6, 3, 6)
        assert ids[i].tolist() == reference.padded(tokens, 6)


def test_one_beam_of_drop_is_the_rule_of_bert4keras(gpt2):
    free = generate(gpt2, PROMPTS, max_new_tokens=6)
    end = int(free[0, 1])  # which the rule takes as a token at first
    options = {"end_id": end, "min_new_tokens": 4, "max_new_tokens": 6}
    ids = generate(gpt2, PROMPTS, finished="drop", **options)
    for i, prompt in enumerate(PROMPTS):
        score = scorer(gpt2, prompt, False)
        tokens, _ = reference.bert4keras_beam_search(score, 6, 1, end, 4)
        assert ids[i].tolist() == reference.padded(tokens, 6)
    assert ids[0, 1] == end


def test_a_trie_restricts_the_tokens(gpt2):
    sequences = [[3, 4], [3, 5, 6], [10, 11, 12]]
    ids = generate(
        gpt2,
        PROMPTS,
        max_new_tokens=5,
        beam_size=2,
        end_id=7,
        allowed_tokens=Trie(sequences),
    )
    whole = [reference.padded([*s, 7], 5) for s in sequences]
    assert all(row.tolist() in whole for row in ids)


def test_the_decoder_begins_with_the_start_id():
    t5 = build("t5.1.1")
    ids = generate(t5, PROMPTS, max_new_tokens=4, start_id=9)
    for i, prompt in enumerate(PROMPTS):
        score = scorer(t5, prompt, start_id=9)
        assert ids[i].tolist() == reference.greedy(score, 4)[0]


def test_nan_weights_are_named_with_the_step():
    model = build("llama-untied")
    prompts = [PROMPTS[2], PROMPTS[0]]
    ids = generate(model, prompts, max_new_tokens=6)[1].tolist()
    bad = next(i for i in ids if i not in [0, *PROMPTS[0], *PROMPTS[2]])
    table = model.get_layer("Embedding-Token")
    weights = table.get_weights()
    weights[0][bad] = np.nan
    table.set_weights(weights)
    step = ids.index(bad) + 1
    with pytest.raises(ValueError, match=rf"step {step}: .*NaN.* prompt 0"):
        generate(model, [PROMPTS[0]], max_new_tokens=6)


def test_allowing_nothing_is_named_with_the_step(gpt2):
    def allowed(tokens, step):
        return ops.ones((1, 31), "bool") & (step < 1)

    with pytest.raises(ValueError, match="step 1: `allowed_tokens` allows no"):
        generate(gpt2, PROMPTS, max_new_tokens=4, allowed_tokens=allowed)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": -3}, "max_new_tokens=-3"),
        ({"max_new_tokens": 2.0}, "max_new_tokens=2.0"),
        ({"max_new_tokens": 40}, "32 positions.*max_new_tokens=40"),
        ({"beam_size": 32}, "beam_size=32"),
        ({"beam_size": 0}, "beam_size=0"),
        ({"beam_size": 2, "top_k": 3}, "does not sample"),
        ({"end_id": 31}, "end_id=31"),
        ({"end_id": -1}, "end_id=-1"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"temperature": 0}, "temperature=0"),
        ({"top_p": 0.5, "seed": -1}, "seed=-1"),
        ({"min_new_tokens": 9}, "min_new_tokens=9"),
        ({"repetition_penalty": -1}, "repetition_penalty=-1"),
        ({"finished": "all"}, "finished='all'"),
        ({"length_penalty": None}, "length_penalty=None"),
        ({"allowed_tokens": 3}, "allowed_tokens=3"),
        ({"allowed_tokens": [[1]]}, r"allowed_tokens=\[\[1\]\]"),
        ({"allowed_tokens": Trie([[31]])}, "a Trie with 31"),
        ({"num_return_sequences": 2}, "num_return_sequences=2"),
        ({"beam_size": 2, "num_return_sequences": 3}, "num_return_sequences=3"),
        ({"start_id": 31}, "start_id=31"),
        ({"additional_inputs": [np.ones(3)]}, "additional_inputs="),
        ({"segment_ids": np.zeros_like(PADDED)}, "segment_ids"),
        ({"additional_inputs": np.ones((3, 4))}, "additional_inputs="),
        ({"length_penalty": 2.0}, "length_penalty=2.0, beam_size=1"),
        ({"finished": "drop", "top_p": 0.5}, "finished='drop'"),
        ({"stream": print, "batch_size": 2}, "batch_size=2 for 3 prompts"),
        ({"temperature": 1e-44}, "step 0: the model's scores are NaN or inf"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"return_scores": 1}, "return_scores=1"),
        ({"progress": "no"}, "progress='no'"),
        ({"stream": 3}, "stream=3"),
        ({"beam_size": 2, "stream": print}, "stream"),
        ({"beam_size": 2, "stop_strings": ["a"]}, "stop_strings"),
        ({"stop_strings": []}, "stop_strings="),
        ({"stop_strings": ["a"]}, "tokenizer=None"),
        ({"token_ids": [[31]]}, "token_ids with 31"),
        ({"token_ids": [[1] * 33]}, "32 positions"),
    ],
)
def test_bad_arguments_are_rejected(gpt2, options, match):
    options = {"max_new_tokens": 4, "token_ids": PADDED, **options}
    with pytest.raises(ValueError, match=match):
        generate(gpt2, **options)


@pytest.mark.parametrize("model", [None, keras.Sequential(), "gpt2"])
def test_a_model_must_be_functional(model):
    with pytest.raises(ValueError, match="Received: model="):
        generate(model, PADDED, max_new_tokens=2)


def test_an_encoder_is_refused_by_the_name_of_its_attention():
    bert = build("bert-lm", application="encoder", with_mlm=True)
    with pytest.raises(ValueError, match="Transformer-0-MultiHeadSelf"):
        generate(bert, PADDED, max_new_tokens=2)
