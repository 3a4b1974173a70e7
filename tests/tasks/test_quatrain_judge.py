import numpy as np
import pytest

from su_models.models import build_transformer_model
from su_models.tasks.quatrain_judge import perplexities, shares
from tests.contract import to_numpy


def test_perplexities_are_those_of_a_loop():
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
    found = perplexities(model, ((ids, segments), targets), [3, 4], 2)
    logits = to_numpy(model([ids, segments])).astype("float64")
    every, characters = [], []
    for row, wanted in zip(logits, targets, strict=True):
        for scores, target in zip(row, wanted, strict=True):
            loss = np.log(np.exp(scores).sum()) - scores[target]
            if target:
                every.append(loss)
            if target not in (0, 3, 4):
                characters.append(loss)
    assert found == {
        "perplexity": pytest.approx(np.exp(np.mean(every)), rel=1e-5),
        "character_perplexity": pytest.approx(
            np.exp(np.mean(characters)), rel=1e-5
        ),
    }


def test_shares_count_poems_and_lines():
    a = "天地玄黄宇，宙洪荒日月。盈昃辰宿列，张寒来暑往。"
    b = a.replace("往", "秋")  # which has no rhyme
    other = a.replace("天地", "收冬")  # three of its lines are known
    poems = {"": [a, b, other, "天地"], "_of_real": [other]}
    figures = shares(poems, [a], {"月": 1, "往": 1, "秋": 2})
    assert figures == {
        "form_share": 3 / 4,
        "rhyme_share": 2 / 4,
        "copied_line_share": 10 / 12,
        "form_share_of_real": 1.0,
        "rhyme_share_of_real": 1.0,
        "copied_line_share_of_real": 3 / 4,
    }
    few = shares({"": ["天"]}, [a])
    assert few == {"form_share": 0.0, "copied_line_share": 0.0}
