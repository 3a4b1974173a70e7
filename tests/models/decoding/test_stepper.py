"""One token after the other equals whole sequences, in every family.

Article: https://kexue.fm/archives/6933
"""

import contextlib

import keras
import numpy as np
import pytest

from su_models.models import generate
from tests.generation import reference
from tests.models.decoding.whole import (
    PROMPTS,
    ROWS,
    build,
    is_unilm,
    restored,
    scorer,
    with_logits,
)

NEW = 6
OPTIONS = {"repetition_penalty": 1.8, "end_id": 6}
# of each kind of step one; all families are slow where programs are compiled
FEW = [
    "bert-unilm",
    "nezha-residual",
    "roformer-unilm",
    "gau_alpha-unilm",
    "llama",
    "t5.1.0",
]
ALL = [
    row
    if row in FEW or keras.config.backend() == "torch"
    else pytest.param(row, marks=pytest.mark.slow)
    for row in ROWS
]


@pytest.mark.parametrize("row", ALL)
def test_beam_search_equals_a_loop_without_a_cache(row, tmp_path):
    model = restored(with_logits(row), tmp_path)
    ids, scores = generate(
        model,
        PROMPTS,
        max_new_tokens=NEW,
        beam_size=3,
        num_return_sequences=3,
        return_scores=True,
        **OPTIONS,
    )
    decodes = row in ("t5.1.0", "t5.1.1", "mt5.1.1")
    for i, prompt in enumerate(PROMPTS):
        expected = reference.beam_search(
            scorer(model, prompt, is_unilm(row)),
            NEW,
            3,
            prompt=[0] if decodes else prompt,
            **OPTIONS,
        )
        for j, (tokens, total) in enumerate(expected):
            assert ids[i, j].tolist() == reference.padded(tokens, NEW), (i, j)
            np.testing.assert_allclose(scores[i, j], total, atol=1e-4)


@pytest.mark.parametrize("row", ["gpt2", "roformer-unilm", "t5.1.1"])
def test_greedy_search_equals_a_loop_without_a_cache(row):
    model = build(row)
    ids, scores = generate(
        model, PROMPTS, max_new_tokens=NEW, return_scores=True
    )
    for i, prompt in enumerate(PROMPTS):
        score = scorer(model, prompt, is_unilm(row))
        tokens, total = reference.greedy(score, NEW)
        assert ids[i].tolist() == tokens
        np.testing.assert_allclose(scores[i], total, atol=1e-4)


def test_a_generated_0_is_masked_as_in_the_whole_sequence():
    model = build("roformer-unilm")

    def zeros_first(tokens, step):
        first = keras.ops.arange(31, dtype="int32") == 0
        other = keras.ops.logical_not(first)
        mask = keras.ops.where(step < 2, first, other)
        return mask[None]

    ids, scores = generate(
        model,
        PROMPTS,
        max_new_tokens=5,
        allowed_tokens=zeros_first,
        return_scores=True,
    )
    for i, prompt in enumerate(PROMPTS):
        tokens, total = reference.greedy(
            scorer(model, prompt, True),
            5,
            allowed=lambda t: {0} if len(t) < 2 else {*range(1, 31)},
        )
        assert tokens[:2] == [0, 0] and ids[i].tolist() == tokens
        np.testing.assert_allclose(scores[i], total, atol=1e-4)


def test_a_condition_of_the_normalizations_is_an_additional_input():
    condition = keras.Input((4,), name="Condition")
    model = build(
        "roformer-unilm",
        layer_norm_cond=condition,
        additional_input_layers=condition,
    )
    values = np.random.default_rng(0).normal(size=(3, 4)).astype("float32") * 3
    ids, scores = generate(
        model,
        PROMPTS,
        max_new_tokens=3,
        additional_inputs=[values],
        return_scores=True,
    )
    for i, prompt in enumerate(PROMPTS):

        def score(tokens, i=i, prompt=prompt):
            whole = np.array([[*prompt, *tokens]])
            new = np.array([[0] * len(prompt) + [1] * len(tokens)])
            y = model([whole, new, values[i : i + 1]])
            return np.log(keras.ops.convert_to_numpy(y)[0, -1])

        tokens, total = reference.greedy(score, 3)
        assert ids[i].tolist() == tokens
        np.testing.assert_allclose(scores[i], total, atol=1e-4)


@pytest.fixture
def x64():
    with contextlib.ExitStack() as stack:
        if keras.config.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        yield


@pytest.mark.parametrize(
    "policy", ["float64", "mixed_bfloat16", "mixed_float16", "float16"]
)
def test_other_precisions_score_alike(policy, x64):
    exact = build("t5.1.1")
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        model = build("t5.1.1")
    finally:
        keras.config.set_dtype_policy(before)
    ids, scores = generate(
        model, PROMPTS, max_new_tokens=4, top_p=1.0, seed=1, return_scores=True
    )
    tolerance = 1e-3 if policy == "float64" else 0.2
    for i, prompt in enumerate(PROMPTS):
        score = scorer(exact, prompt)
        total = sum(
            reference.log_softmax(score(ids[i, :n].tolist()))[ids[i, n]]
            for n in range(4)
        )
        np.testing.assert_allclose(scores[i], total, atol=tolerance)
