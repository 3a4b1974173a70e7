"""Every family of bert4keras, number by number, on padded batches.

Article: https://kexue.fm/archives/6915

Peer: bert4keras 0.11.5, which needs Keras 2: see `legacy.py`. Weights are
random (deviation 0.15), batches have several segments, padding, and a row
that begins with id 0, which is no padding there.
"""

import json

import keras
import numpy as np
import pytest

from su_models.models import build_transformer_model
from tests.contract import to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity

SIZES = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "dropout_rate": 0.1,
    "attention_dropout_rate": 0.1,
    "max_position": 64,
    "segment_vocab_size": 2,
}
GATED = {"hidden_act": ["gelu", "linear"], "attention_head_size": 10}
NAMES = [
    "bert",
    "roberta",
    "albert",
    "albert_unshared",
    "nezha",
    "roformer",
    "roformer_v2",
]


def _inputs(count):
    """Ids, segments, positions and a condition; the first `count`."""
    random = np.random.default_rng(0)
    ids = random.integers(1, 97, (3, 13))
    segments = np.repeat([[0] * 7 + [1] * 6], 3, axis=0)
    ids[1, 9:] = segments[1, 9:] = 0  # padding
    ids[2, 0] = 0  # the first id is never padding
    positions = np.tile(np.arange(13)[::-1] // 2, (3, 1))
    return [ids, segments, positions][:count]


def _pair():
    """Ids of an encoder and of a decoder, which begins with id 0."""
    ids = np.random.default_rng(1).integers(1, 97, (3, 6))
    ids[:, 0] = 0
    ids[1, 4:] = 0
    return [*_inputs(1), ids]


def _states():
    """Outputs of an encoder, and ids of a decoder.

    No states are padding: alone, bert4keras' decoder attends to it.
    """
    states = np.random.default_rng(3).normal(size=(3, 13, 24))
    return [states.astype("float32"), _pair()[1]]


def _condition():
    return np.random.default_rng(2).normal(size=(3, 5))


def _cases():
    """Yields `(model, application, arguments, inputs)`."""
    for name in NAMES:
        for application in ("encoder", "lm", "unilm"):
            factor = {"embedding_size": 16} if name[:2] == "al" else {}
            yield name, application, factor, _inputs(2)
    # the peer has no application lm of models that are causal anyway
    yield "gpt", "encoder", {}, _inputs(2)
    yield "gpt", "unilm", {}, _inputs(2)
    yield "gpt2", "encoder", {}, _inputs(1)
    yield "gpt2", "encoder", {"final_activation": "linear"}, _inputs(1)
    yield "gpt2_ml", "encoder", {}, _inputs(1)
    for name in ("t5.1.0", "t5.1.1", "mt5.1.1"):
        gated = {} if name == "t5.1.0" else GATED
        yield f"{name}_decoder", "encoder", gated, _states()
        yield name, "encoder", gated, _pair()
        yield name, "encoder", {**gated, "with_lm": "linear"}, _pair()
        yield f"{name}_encoder", "encoder", gated, _inputs(1)
    no = {"cross_position_bias": False, "with_lm": False}
    yield "t5.1.1", "encoder", {**GATED, **no}, _pair()
    yield "t5", "encoder", {}, _pair()
    yield "t5_encoder", "encoder", {"embedding_size": 16}, _inputs(1)
    yield "t5_decoder", "encoder", {"with_lm": False}, _states()
    for discriminator in (False, True, "linear"):
        arguments = {"with_discriminator": discriminator, "embedding_size": 16}
        yield "electra", "encoder", arguments, _inputs(2)
    for name in ("bert", "roformer", "nezha", "albert"):
        for options in (
            {"with_pool": True},
            {"with_pool": "linear", "with_mlm": "linear"},
            {"with_nsp": True},
            {"with_nsp": True, "with_mlm": True},
            {"embedding_size": 16, "with_mlm": True},
        ):
            yield name, "encoder", options, _inputs(2)
    yield "roformer_v2", "encoder", {"with_mlm": "linear"}, _inputs(2)
    yield (
        "roformer_v2",
        "encoder",
        {"with_mlm": True, "embedding_size": 16},
        _inputs(2),
    )
    for name in ("bert", "roformer", "roformer_v2", "nezha"):
        yield name, "encoder", {"segment_vocab_size": 0}, _inputs(1)
        # NEZHA adds one embedding to keys and to values
        size = (
            "attention_head_size" if name == "nezha" else "attention_key_size"
        )
        yield name, "encoder", {size: 6}, _inputs(2)
        # the peer fails with the masks of lm and unilm
        yield name, "encoder", {"residual_attention_scores": True}, _inputs(2)
    for name in ("albert", "roformer_v2", "gpt"):
        yield name, "encoder", {"custom_position_ids": True}, _inputs(3)
    for name in ("bert", "roformer"):
        custom = {"custom_position_ids": True}
        yield name, "encoder", custom, _inputs(3)
        yield name, "lm", {**custom, "hierarchical_position": True}, _inputs(3)
    yield (
        "bert",
        "encoder",
        {"hierarchical_position": True, "max_position": 5},
        _inputs(2),
    )
    yield "bert", "encoder", {"hierarchical_position": 0.3}, _inputs(2)
    yield "bert", "encoder", {"shared_segment_embeddings": True}, _inputs(2)
    yield "bert", "encoder", {"hidden_act": ["silu", "linear"]}, _inputs(2)
    for name in ("albert", "nezha"):
        options = {"condition_size": 5, "with_mlm": "linear"}
        yield name, "encoder", options, [*_inputs(2), _condition()]
    for name in ("gpt2", "gpt2_ml", "t5.1.0_encoder"):
        options = {"condition_size": 5}
        yield name, "encoder", options, [*_inputs(1), _condition()]
    for name in ("bert", "roformer", "gpt"):
        options = {"condition_size": 5}
        inputs = [*_inputs(2), _condition()]
        yield name, "encoder", options, inputs
        hidden = {
            **options,
            "layer_norm_cond_hidden_size": 4,
            "layer_norm_cond_hidden_act": "relu",
        }
        yield name, "unilm", hidden, inputs


def _key(case):
    name, application, arguments, _ = case
    options = ",".join(f"{k}={v}" for k, v in arguments.items())
    return ":".join(filter(None, (name, application, options)))


CASES = {_key(case): case for case in _cases()}
if keras.config.backend() == "torch":  # eager there: a case a family will do
    CASES = {
        key: case
        for key, case in CASES.items()
        if key == next(k for k in CASES if k.split(":")[0] == case[0])
    }


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """What bert4keras says of all cases, computed once."""
    cases = {
        key: {
            "model": name,
            "application": application,
            "arguments": {**SIZES, **arguments},
            "inputs": [x.tolist() for x in inputs],
        }
        for key, (name, application, arguments, inputs) in CASES.items()
    }
    return run_legacy(
        "legacy_bert4keras.py",
        tmp_path_factory.mktemp("bert4keras"),
        cases=json.dumps(cases),
    )


def build(case):
    name, application, arguments, _ = case
    arguments = {**SIZES, **arguments}
    size = arguments.pop("condition_size", None)
    if size:
        condition = keras.Input((size,), name="Input-Condition")
        arguments["layer_norm_cond"] = condition
        arguments["additional_input_layers"] = condition
    return build_transformer_model(
        model=name, application=application, **arguments
    )


def weights_of(peer, key):
    """The peer's weights: a dict from layers to lists, in their order."""
    start, found = f"{key}|weight|", {}
    for entry in peer:
        if entry.startswith(start):
            layer, _, number = entry[len(start) :].rpartition("|")
            found.setdefault(layer, {})[int(number)] = peer[entry]
    return {k: [v[i] for i in range(len(v))] for k, v in found.items()}


def give_weights(model, weights):
    """Sets weights by the names of layers; none is missing or left."""
    ours = {layer.name: layer for layer in model.layers if layer.weights}
    assert {*ours} == {*weights}
    for name, layer in ours.items():
        values = weights[name]
        if type(layer).__name__ == "GatedAttentionUnit":
            values = [*values[2:], *values[:2]]
        assert len(values) == len(layer.weights), name
        layer.set_weights(
            [
                value.reshape(tuple(w.shape))
                for value, w in zip(values, layer.weights, strict=True)
            ]
        )


@pytest.mark.parametrize("key", CASES)
def test_same_numbers_as_bert4keras(key, peer, record_property):
    model = build(CASES[key])
    names = {layer.name for layer in model.layers}
    assert {*peer[f"{key}|names"].tolist()} - names == set()
    give_weights(model, weights_of(peer, key))
    inputs = CASES[key][-1]
    outputs = model(inputs if len(inputs) > 1 else inputs[0])
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    decoded = "t5" in key and inputs[-1].shape[1] == 6
    real = inputs[1 if decoded else 0] > 0
    real[:, 0] = True
    for i, output in enumerate(outputs):
        theirs, ours = peer[f"{key}|output|{i}"], to_numpy(output)
        assert ours.shape == theirs.shape
        if ours.ndim == 3:
            ours, theirs = ours[real], theirs[real]
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        record_property("error", float(error))
        print(f"{key}: {error:.1e}")
        assert error < 1e-5
