"""Decoding of many prompts in batches.

Article: https://kexue.fm/archives/6933
"""

import numpy as np

from su_models.models import generate
from tests.models.decoding.whole import PROMPTS, build


def test_batches_do_not_change_the_result(capsys):
    model = build("roformer-unilm")
    options = {"max_new_tokens": 5, "top_p": 1.0, "seed": 3}
    together = generate(model, PROMPTS, **options)
    some = generate(model, PROMPTS, batch_size=2, progress=True, **options)
    np.testing.assert_array_equal(some, together)
    assert "2/2" in capsys.readouterr().out


def test_a_function_is_told_the_finished_prompts():
    model, seen = build("roformer-unilm"), []
    options = {"max_new_tokens": 1, "batch_size": 2}
    generate(model, PROMPTS, progress=lambda *n: seen.append(n), **options)
    assert seen == [(2, 3), (3, 3)]
