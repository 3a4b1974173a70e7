"""`finished="drop"` equals bert4keras' own beam search.

Article: https://kexue.fm/archives/6933
"""

import json

import numpy as np
import pytest
from keras import ops

from su_models.generation import BeamSearch
from su_models.models import build_transformer_model, generate
from tests.parity.legacy import run_legacy
from tests.parity.test_transformer import give_weights, weights_of

pytestmark = pytest.mark.parity
NEW, START = 7, 2
SIZES = {
    "model": "roformer",
    "application": "unilm",
    "vocab_size": 31,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
}
CASES = {
    f"{topk} beams, end {end_id}, minlen {minlen}": {
        "topk": topk,
        "end_id": end_id,
        "minlen": minlen,
        "maxlen": NEW,
        "start": START,
    }
    for topk in (1, 3, 5)
    for end_id in (-1, 4, 9)
    for minlen in (1, 4)
}
# a peaked one, whose beams end early and often, and others
TABLES = np.concatenate(
    [
        np.random.default_rng(seed).normal(scale=scale, size=(1, NEW, 12, 12))
        for seed, scale in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 20.0, 80.0])
    ]
).astype("float32")
PROMPTS = np.random.default_rng(7).integers(1, 31, (6, 5)).astype("int32")


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    return run_legacy(
        "legacy_decoding.py",
        tmp_path_factory.mktemp("legacy"),
        cases=json.dumps(CASES),
        sizes=json.dumps(SIZES),
        tables=TABLES,
        prompts=PROMPTS,
    )


def _search(case):
    return {
        "end_id": case["end_id"] if case["end_id"] >= 0 else None,
        "min_new_tokens": case["minlen"],
    }


@pytest.mark.parametrize("key", CASES)
def test_search_over_a_table(key, peer):
    case = CASES[key]
    search = BeamSearch(NEW, case["topk"], "drop", **_search(case))
    rows = ops.convert_to_tensor(TABLES.reshape(-1, TABLES.shape[-1]))
    first = NEW * TABLES.shape[-1] * ops.arange(len(TABLES), dtype="int32")

    def step(tokens, cache, index):
        at = first[:, None] + TABLES.shape[-1] * index + tokens
        return ops.take(rows, at, axis=0), cache

    start = ops.full((len(TABLES),), START, "int32")
    ids = search(step, start, ()).ids[:, 0]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ids), peer[f"{key}|table"]
    )


def test_some_beams_are_dropped_and_some_searches_end(peer):
    """Otherwise the cases would not show the rule."""
    free = peer["3 beams, end -1, minlen 1|table"]
    short = peer["3 beams, end 4, minlen 1|table"]
    assert (short == 0).any() and (free != short).any()


@pytest.fixture(scope="module")
def model(peer):
    made = build_transformer_model(**SIZES)
    give_weights(made, weights_of(peer, ""))
    return made


@pytest.mark.parametrize(
    "key",
    [
        "1 beams, end 9, minlen 4",
        "3 beams, end 4, minlen 1",
        "3 beams, end 9, minlen 4",
        "5 beams, end 9, minlen 1",
    ],
)
def test_a_unilm(key, peer, model):
    found = generate(
        model,
        PROMPTS,
        max_new_tokens=NEW,
        prompt_lengths=[PROMPTS.shape[1]] * len(PROMPTS),
        beam_size=CASES[key]["topk"],
        finished="drop",
        **_search(CASES[key]),
    )
    np.testing.assert_array_equal(found, peer[f"{key}|model"])
