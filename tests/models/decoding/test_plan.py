"""What a model needs to be computed token by token."""

import keras
import numpy as np
import pytest

from su_models.layers import (
    CausalMask,
    Embedding,
    FirstToken,
    LocalSelfAttention,
    MultiHeadAttention,
    PositionEmbedding,
)
from su_models.models.decoding.plan import Plan
from tests.models.decoding.whole import build
from tests.models.transformer.tiny import tiny


@pytest.mark.parametrize("row", ["bert-unilm", "gpt2", "t5.1.1"])
def test_inputs_and_steps_of_a_model(row):
    plan = Plan(build(row))
    assert plan.vocab_size == 31
    assert plan.is_unilm == (row == "bert-unilm")
    assert (plan.segments is not None) == (row == "bert-unilm")
    assert (plan.encoder_input is not None) == (row == "t5.1.1")
    assert plan.max_length == (None if row == "t5.1.1" else 32)
    kinds = [kind for _, kind in plan.steps]
    assert kinds.count("attention") == 2
    assert kinds.count("cross") == (2 if row == "t5.1.1" else 0)
    assert bool(plan.once) == (row == "t5.1.1")
    assert plan.linear is None or row == "t5.1.1"


def lm(layer=None, after=None, attention=None, mask=None, head="linear"):
    """A small language model, with something that cannot be stepped."""
    ids = keras.Input((None,), dtype="int32")
    table = Embedding(9, 6)
    x = table(ids)
    if layer is not None:
        x = layer(x)
    attention = attention or MultiHeadAttention(2, 3, name="attend")
    options = {"use_causal_mask": True} if mask is None else mask(ids)
    x = attention(x, **options)
    x = table(x, reverse=True)
    return keras.Model(ids, keras.layers.Activation(head, name="head")(x))


def test_a_small_model_has_a_plan():
    assert Plan(lm()).vocab_size == 9
    assert Plan(lm(PositionEmbedding(7))).max_length == 7


def negated(ids):
    mask = CausalMask()(ids)
    return {"attention_mask": keras.ops.logical_not(mask)}


def pooled():
    ids = keras.Input((None,), dtype="int32")
    x = FirstToken(name="pool")(Embedding(9, 6)(ids))
    return keras.Model(ids, keras.layers.Dense(9)(x))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (lambda: tiny("bert", with_mlm=True), "MultiHeadSelfAttention .*later"),
        (lambda: pooled(), "pool .FirstToken"),
        (lambda: lm(mask=lambda ids: {}), "attend .*later tokens"),
        (lambda: lm(mask=negated), "logical_not"),
        (lambda: lm(keras.layers.LSTM(6, return_sequences=True)), "lstm"),
        (lambda: lm(keras.layers.Conv1D(6, 3, padding="same")), "conv1d"),
        (lambda: lm(keras.layers.LayerNormalization(axis=1)), "layer_norm"),
        (
            lambda: lm(attention=LocalSelfAttention(2, 3, 2, name="local")),
            "local .*blocks",
        ),
        (lambda: lm(head="tanh"), "head .*neither"),
        (lambda: tiny("t5.1.1_decoder"), "context is no input of ids"),
        (lambda: tiny("t5.1.1_encoder"), "Received: model="),
        (lambda: tiny("gpt2", final_activation="sigmoid"), "LM-Activation"),
    ],
)
def test_what_cannot_be_stepped_is_refused_by_name(model, match):
    with pytest.raises(ValueError, match=match):
        Plan(model())


def test_a_model_of_floats_has_no_tokens():
    x = keras.Input((None, 3))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(ValueError, match="no input holds token ids"):
        Plan(model)


def test_variables_are_those_of_the_model():
    model = build("t5.1.1")
    found = {id(v) for v in Plan(model).variables}
    assert found == {id(v) for v in model.variables}
    assert len(np.unique(list(found))) == len(model.variables)
