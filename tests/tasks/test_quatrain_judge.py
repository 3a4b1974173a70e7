import numpy as np
import pytest

from su_models.tasks.quatrain_judge import perplexities, shares
from tests.tasks.unilm import random_unilm


def test_perplexities_are_those_of_a_loop():
    model, examples, logits = random_unilm()
    _, targets = examples
    found = perplexities(model, examples, [3, 4], 2)
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
