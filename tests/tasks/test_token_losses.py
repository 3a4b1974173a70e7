import numpy as np
import pytest

from su_models.models import build_transformer_model
from su_models.tasks.token_losses import frequency_perplexity, token_losses
from tests.contract import to_numpy


def test_losses_are_those_of_a_loop():
    model = build_transformer_model(
        model="roformer_v2",
        application="unilm",
        with_mlm="linear",
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_act="relu",
    )
    random = np.random.default_rng(0)
    ids = random.integers(1, 9, (5, 7)).astype("int32")
    segments = np.repeat([[0, 0, 0, 1, 1, 1, 1]], 5, axis=0).astype("int32")
    targets = random.integers(0, 9, (5, 7)).astype("int32")
    found = token_losses(model, ((ids, segments), targets), 2)
    logits = to_numpy(model([ids, segments])).astype("float64")
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
