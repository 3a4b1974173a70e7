"""Padding changes no real token of any family; what it changes in peers.

Article: https://kexue.fm/archives/6915

Peers: keras-hub 0.32 and bert4keras3 1.6.6, of Keras 3: see `legacy.py`. The
table of `docs/parity.md` is what this prints:

    make parity BACKENDS=tensorflow PYTEST="-n 0 -s -k padding"
"""

import json

import keras
import numpy as np
import pytest

from su_models.models import build_transformer_model
from su_models.models.transformer.build import MODELS
from su_models.models.transformer.electra import ELECTRA
from tests.contract import to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity
SIZES = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "max_position": 64,
    "segment_vocab_size": 2,
}
PADDING = 5
LINEAR = "linear"
GATED = {"hidden_act": ["gelu", LINEAR]}
T5_INPUTS = {  # by how the name ends
    "_encoder": ["ids"],
    "_decoder": ["states", "answers"],
    "": ["ids", "answers"],
}
CAUSAL = ("gpt", "gpt2", "gpt2_ml", "llama")
# what bert4keras3 is not asked: second names, the heads of every family
SAME = ("roberta", "t5", "t5_encoder", "t5_decoder")
SAME += ("mt5.1.1", "mt5.1.1_encoder", "mt5.1.1_decoder")
HEADS = ("bert", "roformer_v2", "gau_alpha")


def _arrays():
    """Inputs of three rows by name, without and with padding."""
    random = np.random.default_rng(0)
    ids, answers = random.integers(1, 97, (2, 3, 9)).astype("int32")
    answers[:, 0] = 0  # a decoder begins with it
    states = random.normal(size=(3, 9, 24)).astype("float32")
    plain = {
        "ids": ids,
        "segments": np.repeat([[0] * 5 + [1] * 4], 3, axis=0).astype("int32"),
        "answers": answers,
        "states": states,
    }
    pad = [(0, 0), (0, PADDING)]
    return {f"plain|{name}": x for name, x in plain.items()} | {
        f"padded|{name}": np.pad(x, (pad + [(0, 0)])[: x.ndim])
        for name, x in plain.items()
    }


def _cases():
    """Yields `(name, application, arguments, inputs)`; scores are logits."""
    for name, cls in MODELS.items():
        if "t5" in name:
            gated = GATED if "t5.1.1" in name else {}
            for end, inputs in T5_INPUTS.items():
                if name.endswith(end):
                    yield name, "encoder", {**gated, "with_lm": LINEAR}, inputs
                    break
        elif name in CAUSAL:
            inputs = ["ids", "segments"] if name == "gpt" else ["ids"]
            act = {"hidden_act": ["silu", LINEAR]} if name == "llama" else {}
            yield name, "encoder", {**act, "final_activation": LINEAR}, inputs
        else:
            key = {"attention_key_size": 10} if name == "gau_alpha" else {}
            yield name, "encoder", key, ["ids", "segments"]
            if cls is not ELECTRA:
                key = {**key, "with_mlm": LINEAR}
                yield name, "lm", key, ["ids", "segments"]
                yield name, "unilm", key, ["ids", "segments"]


ARRAYS = _arrays()
CASES = {f"{case[0]}, {case[1]}": case for case in _cases()}
OURS = CASES
if keras.config.backend() == "torch":  # eager there: a case a family will do
    OURS = [key for key in CASES if key.endswith("encoder")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """keras-hub's RoFormerV2: weights, outputs."""
    sizes = {
        "vocabulary_size": SIZES["vocab_size"],
        "num_layers": SIZES["num_hidden_layers"],
        "num_heads": SIZES["num_attention_heads"],
        "hidden_dim": SIZES["hidden_size"],
        "intermediate_dim": SIZES["intermediate_size"],
        "head_size": SIZES["hidden_size"] // SIZES["num_attention_heads"],
        "activation": "relu",
    }
    return run_legacy(
        "legacy_keras_hub.py",
        tmp_path_factory.mktemp("keras_hub"),
        sizes=json.dumps(sizes),
        ids=ARRAYS["plain|ids"],
        segments=ARRAYS["plain|segments"],
        padding=PADDING,
    )


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """bert4keras3: changes by padding, or errors."""
    cases = {
        key: {
            "arguments": {
                **SIZES,
                **arguments,
                "model": "gau" if name == "gau_alpha" else name,
                "application": application,
            },
            # its LLaMA has segments
            "inputs": ["ids", "segments"] if name == "llama" else inputs,
        }
        for key, (name, application, arguments, inputs) in CASES.items()
        if name not in SAME and (application == "encoder" or name in HEADS)
    }
    return run_legacy(
        "legacy_bert4keras3.py",
        tmp_path_factory.mktemp("bert4keras3"),
        cases=json.dumps(cases),
        **ARRAYS,
    )


def relative(ours, theirs):
    """Returns the largest difference, of their largest value."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def randomized(name, application, arguments):
    model = build_transformer_model(
        model=name, application=application, **{**SIZES, **arguments}
    )
    random = np.random.default_rng(11)
    for weight in model.weights:
        noise = random.normal(scale=0.15, size=weight.shape)
        # of what it began with only the ones of γ remain
        weight.assign(np.round(to_numpy(weight)) + noise)
    return model


@pytest.mark.parametrize("key", OURS)
def test_padding_changes_no_real_token(key, record_property):
    name, application, arguments, inputs = CASES[key]
    model = randomized(name, application, arguments)

    def outputs(kind):
        values = [ARRAYS[f"{kind}|{name}"] for name in inputs]
        return to_numpy(model(values if len(values) > 1 else values[0]))

    plain = outputs("plain")
    error = relative(outputs("padded")[:, : plain.shape[1]], plain)
    record_property("error", float(error))
    print(f"su_models, {key}: {error:.1e}")
    assert error < 2e-6


def test_what_padding_changes_in_bert4keras3(port):
    for key, found in port.items():
        number = found.dtype.kind == "f"
        print(f"bert4keras3, {key}:", f"{found:.1e}" if number else found)
    # else the table in docs/ is no longer true
    assert port["bert, encoder"] > 1e-2
    assert port["llama, encoder"] < 1e-5


def test_what_padding_changes_in_keras_hub(hub):
    plain = hub["plain"]
    error = relative(hub["padded"][:, : plain.shape[1]], plain)
    print(f"keras-hub, roformer_v2: {error:.1e}")
    assert error > 1e-2  # else the table in docs/ is no longer true


def test_roformer_v2_without_padding_is_that_of_keras_hub(hub):
    model = build_transformer_model(
        model="roformer_v2", **{**SIZES, "hidden_act": "relu"}
    )
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(
                [
                    hub[f"weight|{layer.name}|{i}"].reshape(weight.shape)
                    for i, weight in enumerate(layer.weights)
                ]
            )
    ours = model([ARRAYS["plain|ids"], ARRAYS["plain|segments"]])
    error = relative(to_numpy(ours), hub["plain"])
    print(f"roformer_v2 and keras-hub: {error:.1e}")
    assert error < 2e-6
