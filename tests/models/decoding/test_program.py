"""Programs of a model, which are kept as long as the model."""

import gc
import weakref

import keras
import numpy as np
import pytest

from su_models.generation import GreedySearch
from su_models.models import generate
from su_models.models.decoding.program import plan_of, program_of
from su_models.models.decoding.stepper import Stepper
from tests.models.decoding.whole import PROMPTS, build


def test_programs_are_kept_until_the_variables_change():
    model = build("gpt2")
    plan = plan_of(model)
    first = program_of(model, 1, GreedySearch(3))
    assert plan_of(model) is plan
    assert program_of(model, 1, GreedySearch(3)) is first
    for key in range(2, 20):
        program_of(model, key, GreedySearch(3))
    assert program_of(model, 1, GreedySearch(3)) is not first
    used = program_of(model, 19, GreedySearch(3))
    for key in range(20, 35):  # 15 others: the last one used is kept
        program_of(model, key, GreedySearch(3))
    assert program_of(model, 19, GreedySearch(3)) is used
    model.get_layer("Embedding-Token").enable_lora(2)
    assert plan_of(model) is not plan


def test_a_program_does_not_keep_its_model():
    model = build("gpt2")
    program_of(model, 1, GreedySearch(3))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_new_weights_need_no_new_program():
    model, other = build("gpt2"), build("gpt2")
    other.set_weights([1.3 * w for w in other.get_weights()])
    before = generate(model, PROMPTS, max_new_tokens=5, return_scores=True)
    model.set_weights(other.get_weights())
    ids, scores = generate(model, PROMPTS, max_new_tokens=5, return_scores=True)
    expected = generate(other, PROMPTS, max_new_tokens=5, return_scores=True)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-6)
    assert (scores != before[1]).all()


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch compiles nothing"
)
@pytest.mark.slow
def test_a_hundred_lengths_need_at_most_six_programs():
    model, traces = build("gpt2", max_position=128), []

    def allowed(tokens, step):
        traces.append(tokens.shape)
        return keras.ops.ones((1, 31), "bool")

    options = {"max_new_tokens": 2, "allowed_tokens": allowed}
    generate(model, [[5] * 16], **options)
    once = len(traces)  # calls of the function in a trace
    for length in range(1, 101):
        generate(model, [[5] * length], **options)
    assert len(traces) <= 6 * once


def test_the_memory_of_a_cache_is_linear_in_its_slots():
    plan, ids = plan_of(build("roformer-unilm")), keras.ops.ones((2, 16))
    ids = keras.ops.cast(ids, "int32")
    lengths = keras.ops.convert_to_tensor([3, 16], "int32")

    def size(new):
        cache = Stepper(plan, 3, new).begin(ids, lengths, 0 * ids)
        arrays = keras.tree.flatten(cache)
        return sum(int(np.prod(x.shape)) for x in arrays)

    sizes = [size(new) for new in (9, 17, 33, 65)]
    steps = np.diff(sizes) / [8, 16, 32]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
