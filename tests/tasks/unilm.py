"""A UniLM of random weights, and rows for it."""

import numpy as np

from su_models.models import build_transformer_model
from tests.contract import to_numpy


def random_unilm():
    """Returns a model, `((ids, segments), targets)` and float64 logits."""
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
    logits = to_numpy(model([ids, segments])).astype("float64")
    return model, ((ids, segments), targets), logits
