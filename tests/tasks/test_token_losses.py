import numpy as np
import pytest

from su_models.tasks.token_losses import frequency_perplexity, token_losses
from tests.tasks.unilm import random_unilm


def test_losses_are_those_of_a_loop():
    model, examples, logits = random_unilm()
    _, targets = examples
    found = token_losses(model, examples, 2)
    assert found.shape == (5, 7)
    for i in range(5):
        for t in range(7):
            scores = logits[i, t]
            loss = np.log(np.exp(scores).sum()) - scores[targets[i, t]]
            assert found[i, t] == pytest.approx(loss, rel=1e-4, abs=1e-5)


def test_frequencies_are_counted_with_one_more():
    train, test = np.array([[1, 1, 0], [2, 0, 0]]), np.array([1, 3, 0])
    # counts of 1, 2 and 3: 3, 2 and 1 of 6
    expected = np.exp(-np.log([3 / 6, 1 / 6]).mean())
    found = frequency_perplexity(train, test, 4)
    assert found == pytest.approx(expected)
