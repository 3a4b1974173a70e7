"""Article: https://kexue.fm/archives/6933

What the tasks share; their own tests try the models.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from su_models.tasks.character_unilm import CharacterUniLM, with_targets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy(CharacterUniLM):
    """Writes the prompt again."""

    task_name: ClassVar[str] = "copy"
    hidden_size: int = 16
    num_hidden_layers: int = 1
    num_attention_heads: int = 2
    steps: int = 4
    steps_per_epoch: int = 2
    batch_size: int = 4

    def vocabulary(self):
        return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "天", "地"]


def test_targets_are_the_following_tokens_of_the_text():
    ids = np.array([[2, 4, 3, 5, 3, 0], [2, 3, 4, 5, 4, 3]], "int32")
    segments = np.array([[0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1]], "int32")
    x, targets = with_targets(ids, segments)
    assert x[0] is ids and x[1] is segments
    assert targets.tolist() == [[0, 0, 5, 3, 0, 0], [0, 4, 5, 4, 3, 0]]


def test_the_model_has_the_vocabulary_and_returns_logits():
    task = Copy()
    model = task.build()
    assert task.tokenizer(model).token_end_id == 3
    assert model.output.shape == (None, None, 6)
    ids = np.full((4, 5), 6, "int32")
    with pytest.raises(ValueError, match="below 6. Received: ids up to 6"):
        task.check_examples(((ids, ids), ids), model)


def test_the_rate_rises_and_falls():
    task = Copy(steps=1000, steps_per_epoch=100, jit_compile=False)
    rate = task.trainer(task.build()).optimizer._learning_rate
    assert float(rate(0)) == 0
    assert float(rate(50)) == pytest.approx(1e-3)
    assert float(rate(100)) == pytest.approx(2e-3)
    assert float(rate(1000)) == pytest.approx(2e-3 * 0.02)


@pytest.mark.parametrize(
    "field, value",
    [
        ("hidden_size", 0),
        ("num_hidden_layers", 1.5),
        ("num_attention_heads", -1),
        ("min_count", 0),
        ("dropout", 1),
        ("ema_momentum", -0.1),
        ("hidden_size", 18),  # 9 features a head
    ],
)
def test_bad_settings_are_refused_at_once(field, value):
    with pytest.raises(ValueError, match=f"Received: {field}={value!r}"):
        Copy(**{field: value})
