"""Tokens as they come, and strings that end a sequence.

Article: https://kexue.fm/archives/6933
"""

import numpy as np
import pytest

from su_models.models import generate
from tests.generation import reference
from tests.models.decoding.whole import PROMPTS, build


@pytest.fixture(scope="module")
def model():
    return build("roformer-unilm")


class Letters:
    def decode(self, ids):
        return "".join(chr(ord("a") + i % 26) for i in ids)


def test_tokens_are_streamed_as_they_come(model):
    options = {"max_new_tokens": 6, "top_p": 1.0, "seed": 3, "end_id": 22}
    seen = []
    ids = generate(model, PROMPTS, stream=lambda *x: seen.append(x), **options)
    np.testing.assert_array_equal(ids, generate(model, PROMPTS, **options))
    assert [step for step, _ in seen] == list(range(len(seen)))
    streamed = np.stack([tokens for _, tokens in seen], axis=1)
    np.testing.assert_array_equal(streamed, ids[:, : len(seen)])


def test_a_stop_string_ends_a_sequence(model):
    options = {"max_new_tokens": 6, "top_p": 1.0, "seed": 3}
    plain = generate(model, PROMPTS, **options)
    text = Letters().decode(plain[0].tolist())
    ids = generate(
        model,
        PROMPTS,
        stop_strings=[text[1:3]],
        tokenizer=Letters(),
        **options,
    )
    for row, free in zip(ids, plain, strict=True):
        whole = Letters().decode(free.tolist())
        cut = whole.find(text[1:3])
        end = 6 if cut < 0 else cut + 2
        assert row.tolist() == reference.padded(free[:end].tolist(), 6)
