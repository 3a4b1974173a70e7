"""Pages in docs/ are true: their code runs, and names exist.

Article: https://kexue.fm/archives/7094
"""

import pathlib
import re

import keras
import numpy as np
import pytest

from su_models import optimizers
from su_models.models.transformer.build import MODELS
from su_models.optimizers import Lookahead

PAGE = pathlib.Path(__file__).parent.parent / "docs/extend_with.md"
TEXT = PAGE.read_text("utf-8")


def test_code_runs_and_the_optimizer_trains():
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    space = {}
    exec(compile(code, PAGE.name, "exec"), space)
    inputs = keras.Input((3,), dtype="int32")
    tokens = keras.layers.Embedding(5, 4, name="embedding")(inputs)
    tokens = keras.layers.LayerNormalization(name="norm")(tokens)
    tokens = keras.layers.GlobalAveragePooling1D()(tokens)
    model = keras.Model(inputs, keras.layers.Dense(1)(tokens))
    assert isinstance(space["optimizer"], Lookahead)
    model.compile(space["optimizer"], "mse")
    before = model.get_weights()
    model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=1, verbose=0)
    moved = [
        (a != b).any() for a, b in zip(model.get_weights(), before, strict=True)
    ]
    assert all(moved)


def test_each_function_of_bert4keras_has_its_row():
    rows = [line for line in TEXT.splitlines() if line.startswith("| `extend")]
    assert len(rows) == 8
    columns = [re.split(r"(?<!\\)\|", row) for row in rows]
    assert all(len(cells) == 4 for cells in columns)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_every_optimizer_is_on_the_page(name):
    assert f"{name}(" in TEXT


def test_every_transformer_is_in_the_table_of_padding():
    text = (PAGE.parent / "parity.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    names = [n for row in rows for n in re.findall(r"`(.+?)`", row)]
    assert sorted(names) == sorted(MODELS)
