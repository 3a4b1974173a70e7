"""Article: none; bert4keras and transformers read what we wrote, and back.

Outputs are equal, on padded batches, to 1e-5 of the peer's largest value;
bert4keras needs Keras 2: see `legacy.py`.
"""

import json

import keras
import numpy as np
import pytest

from su_models.checkpoints import load_checkpoint, save_checkpoint
from su_models.models import build_transformer_model
from tests.contract import to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity
CONFIG = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}
LENGTHS = [13, 8, 11]
ALL = {"with_pool": True, "with_nsp": True, "with_mlm": "linear"}
GATED = {"hidden_act": ["gelu", "linear"]}
LEGACY = {  # options of both, and which inputs
    "bert": {},
    "roberta": ALL,
    "albert": {**ALL, "embedding_size": 16},
    "nezha": ALL,
    "roformer": {**ALL, "embedding_size": 16},
    "roformer_v2": {"with_mlm": "linear"},
    "electra": {"with_discriminator": True, "embedding_size": 16},
    "gpt": {},
    "gpt2": {},
    "gpt2_ml": {},
    "t5.1.0": {"with_lm": "linear"},
    "t5.1.1": {"with_lm": "linear", **GATED},
    "mt5.1.1": {"with_lm": "linear", **GATED},
}
RESIZED = {
    "autoresize_weights": True,
    "hidden_size": 40,
    "num_attention_heads": 5,
    "intermediate_size": 20,
    "max_position": 100,
}
TOKENS = {  # 24 rows of the checkpoint, and 6 more of these
    "keep_tokens": [0, *range(90, 50, -2), 7, 9, 8],
    "compound_tokens": [[3, 5], [1], [2, 2, 4], [11, 7], [6, 20], [23]],
}
HEADS = [{}, {"with_pool": True, "with_nsp": True, "with_mlm": "linear"}]


def batch():
    """Ids, segments, and which are no padding."""
    random = np.random.default_rng(0)
    real = np.arange(13) < np.array(LENGTHS)[:, None]
    ids = random.integers(1, 97, real.shape) * real
    segments = (np.arange(13) > 5) * real
    return ids.astype("int32"), segments.astype("int32"), real


def randomize(model):
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:  # NEZHA's sines are not
        weight.assign(random.normal(scale=0.3, size=weight.shape))


def inputs_of(name):
    """Names of arrays: of what `batch` and `answers` return."""
    if "t5" in name:
        return ["ids", "answers"]
    return ["ids"] if name.startswith("gpt2") else ["ids", "segments"]


def answers():
    """Ids for a decoder, which begins with id 0."""
    ids = np.random.default_rng(3).integers(1, 97, (3, 6))
    ids[:, 0] = 0
    return ids.astype("int32")


@pytest.fixture(scope="module")
def legacy(tmp_path_factory):
    """Of each family: a model, outputs of both, and where theirs is."""
    folder = tmp_path_factory.mktemp("legacy")
    config = folder / "config.json"
    config.write_text(json.dumps(CONFIG))
    ids, segments, _ = batch()
    arrays = {"ids": ids, "segments": segments, "answers": answers()}
    arrays["fewer"] = np.where(ids > 0, ids % 29 + 1, 0)
    cases, models = {}, {}
    for name, options in LEGACY.items():
        ours = folder / f"ours-{name}"
        model = build_transformer_model(str(config), model=name, **options)
        randomize(model)
        save_checkpoint(model, ours, name)
        models[name] = model
        cases[name] = {
            "model": name,
            "config": str(config),
            "options": options,
            "ours": str(ours),
            "theirs": str(folder / f"theirs-{name}"),
            "inputs": inputs_of(name),
        }
    for act in ("gelu", "relu"):  # from checkpoints of other sizes
        name, options = f"bert, {act}", {**RESIZED, "hidden_act": act}
        cases[name] = {
            **cases["bert"],
            "options": options,
            "theirs": str(folder / f"theirs-{act}"),
        }
        models[name] = build_transformer_model(
            str(config), cases["bert"]["ours"], **options
        )
    name, options = "roberta, tokens", {**ALL, **TOKENS}
    cases[name] = {
        **cases["roberta"],
        "options": options,
        "theirs": None,  # it would have these tokens alone
        "inputs": ["fewer", "segments"],
    }
    models[name] = build_transformer_model(
        str(config), cases["roberta"]["ours"], "roberta", **options
    )
    peers = run_legacy(
        "legacy_checkpoint.py", folder, False, cases=json.dumps(cases), **arrays
    )
    return cases, models, peers, arrays


@pytest.mark.parametrize(
    "name", [*LEGACY, "bert, gelu", "bert, relu", "roberta, tokens"]
)
def test_bert4keras_reads_ours_and_we_its(name, legacy):
    cases, models, peers, arrays = legacy
    model, case = models[name], cases[name]
    inputs = [arrays[key] for key in case["inputs"]]

    def check(whose):
        found = keras.tree.flatten(
            model(inputs if len(inputs) > 1 else inputs[0])
        )
        theirs = [peers[f"{name}|{whose}|{i}"] for i in range(len(found))]
        # what a decoder says has no padding
        assert_close([to_numpy(x) for x in found], theirs, "t5" not in name)

    check("ours")
    if case["theirs"] is None:
        return
    assert load_checkpoint(model, case["theirs"], case["model"]) == []
    check("theirs")


def outputs(model):
    ids, segments, _ = batch()
    return [to_numpy(x) for x in keras.tree.flatten(model([ids, segments]))]


def assert_close(ours, peers, padded=True):
    """Float32 parity, where there is no padding."""
    *_, real = batch()
    for x, y in zip(ours, peers, strict=True):
        if padded and x.ndim == 3:
            x, y = x[real], y[real]
        atol = 1e-5 * np.abs(y).max()
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)


@pytest.mark.parametrize("heads", HEADS, ids=["encoder", "heads"])
def test_transformers_reads_ours_and_we_its(heads, tmp_path):
    torch = pytest.importorskip("torch", reason="peer: torch")
    peer = pytest.importorskip("transformers", reason="peer: transformers")
    cls = peer.BertForPreTraining if heads else peer.BertModel
    settings = peer.BertConfig(**CONFIG, attn_implementation="eager")
    options = {} if heads else {"add_pooling_layer": False}
    ids, segments, real = (torch.from_numpy(x).long() for x in batch())

    def theirs(bert):
        with torch.no_grad():
            found = bert.eval()(ids, real, segments)
        if not heads:
            return [found.last_hidden_state.numpy()]
        following = torch.softmax(found.seq_relationship_logits, -1)
        return [following.numpy(), found.prediction_logits.numpy()]

    torch.manual_seed(0)
    bert = cls(settings, **options)
    for weight in bert.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    bert.save_pretrained(tmp_path / "whole")
    bert.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len([*(tmp_path / "parts").glob("*.safetensors")]) > 1
    for name in ("whole", "parts"):
        folder = tmp_path / name
        model = build_transformer_model(folder, folder, **heads)
        assert load_checkpoint(model, folder) == []
        assert_close(outputs(model), theirs(bert))

    randomize(model)
    settings.save_pretrained(tmp_path / "ours")
    save_checkpoint(model, tmp_path / "ours" / "model.safetensors")
    bert, report = cls.from_pretrained(
        tmp_path / "ours", output_loading_info=True, **options
    )
    assert not any(report.values()), report
    assert_close(outputs(model), theirs(bert))


# ---- the other families of transformers


def same(model, ids, segments, real):
    return model([ids, segments])


def alone(model, ids, segments, real):
    return model(ids)


def paired(model, ids, segments, real):
    return model([ids, answers()])


def logits(bert, ids, segments, real):
    return [bert(ids, real, segments).logits]


def probabilities(albert, ids, segments, real):
    found = albert(ids, real, segments)
    return [found.sop_logits.softmax(-1), found.prediction_logits]


def replaced(electra, ids, segments, real):
    return [electra(ids, real, segments).logits[..., None]]


def causal(gpt, ids, segments, real):
    return [gpt(ids, attention_mask=real).logits]


def decoded(t5, ids, segments, real):
    import torch

    answer = torch.from_numpy(answers()).long()
    return [t5(ids, real, decoder_input_ids=answer).logits]


SMALL = {**CONFIG, "embedding_size": 16}
LENGTHY = {
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 3,
    "n_positions": 64,
    "vocab_size": 97,
}
SIZES_OF_T5 = {
    "d_model": 24,
    "d_kv": 6,  # heads need not divide d_model
    "d_ff": 40,
    "num_layers": 3,
    "num_heads": 3,
    "vocab_size": 97,
}
UNTIED = {
    **SIZES_OF_T5,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
LLAMA = {
    "vocab_size": 97,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
}
FINAL = {"final_activation": "linear"}
# peer's class, its configuration, our family and heads, both calls
PEERS = {
    "albert": (
        "AlbertForPreTraining",
        SMALL,
        ("albert", ALL),
        (probabilities, same),
    ),
    "electra": (
        "ElectraForPreTraining",
        SMALL,
        ("electra", {"with_discriminator": "linear"}),
        (replaced, same),
    ),
    "roberta": (
        "RobertaForMaskedLM",
        {**CONFIG, "max_position_embeddings": 66},
        ("roberta", {"with_mlm": "linear"}),
        (logits, same),
    ),
    "roformer": (
        "RoFormerForMaskedLM",
        SMALL,
        ("roformer", {"with_mlm": "linear"}),
        (logits, same),
    ),
    "gpt": ("OpenAIGPTLMHeadModel", LENGTHY, ("gpt", FINAL), (causal, alone)),
    "gpt2": ("GPT2LMHeadModel", LENGTHY, ("gpt2", FINAL), (causal, alone)),
    "gpt2, n_inner": (
        "GPT2LMHeadModel",
        {**LENGTHY, "n_inner": 40, "activation_function": "relu"},
        ("gpt2", FINAL),
        (causal, alone),
    ),
    "t5": (
        "T5ForConditionalGeneration",
        SIZES_OF_T5,
        ("t5", {"with_lm": "linear"}),
        (decoded, paired),
    ),
    "t5.1.1": (
        "T5ForConditionalGeneration",
        UNTIED,
        ("t5.1.1", {"with_lm": "linear"}),
        (decoded, paired),
    ),
    "mt5.1.1": (
        "MT5ForConditionalGeneration",
        UNTIED,
        ("mt5.1.1", {"with_lm": "linear"}),
        (decoded, paired),
    ),
    "llama": ("LlamaForCausalLM", LLAMA, ("llama", FINAL), (causal, alone)),
    "llama, tied": (
        "LlamaForCausalLM",
        {
            **LLAMA,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
        ("llama", FINAL),
        (causal, alone),
    ),
}


@pytest.mark.parametrize("key", PEERS)
def test_transformers_reads_each_family_and_we_its(key, tmp_path):
    torch = pytest.importorskip("torch", reason="peer: torch")
    peer = pytest.importorskip("transformers", reason="peer: transformers")
    load_file = pytest.importorskip("safetensors.torch").load_file
    name, settings, (family, heads), (theirs, ours) = PEERS[key]
    cls = getattr(peer, name)
    tied = settings.get("tie_word_embeddings", key != "llama")
    settings = cls.config_class(**settings)
    settings.tie_word_embeddings = tied  # T5's sets it back
    ids, segments, real = batch()
    if key == "roberta":  # id 1 is its padding, positions follow from that
        ids, segments, real = ids % 95 + 2, 0 * segments, real | True
    batched = ids, segments, real

    def check(model, network):
        tensors = [torch.from_numpy(x).long() for x in batched]
        with torch.no_grad():
            found = theirs(network.eval(), *tensors)
        mine = keras.tree.flatten(ours(model, *batched))
        mine = [to_numpy(x) for x in mine]
        assert_close(mine, [x.numpy() for x in found], "t5" not in key)

    torch.manual_seed(0)
    network = cls(settings)
    if "t5" in key:  # else tied only with the output
        network.set_input_embeddings(network.shared)
    for weight in network.parameters():
        if weight.requires_grad:  # RoFormer's sines do not
            torch.nn.init.normal_(weight, std=0.3)
    network.save_pretrained(tmp_path / "theirs")
    # a folder of theirs is all that is needed
    folder = tmp_path / "theirs"
    model = build_transformer_model(folder, folder, family, **heads)
    family = "t5.1.0" if family == "t5" else family
    assert load_checkpoint(model, folder, family) == []
    check(model, network)

    randomize(model)
    settings.save_pretrained(tmp_path / "ours")
    save_checkpoint(model, tmp_path / "ours" / "model.safetensors", family)
    if "t5.1.1" in key:  # transformers 5 ties what it loads
        tensors = load_file(tmp_path / "ours" / "model.safetensors")
        report = network.load_state_dict(tensors, strict=False)
        report = {"unexpected": report.unexpected_keys}
    else:
        network, report = cls.from_pretrained(
            tmp_path / "ours", config=settings, output_loading_info=True
        )
        missing = report.pop("missing_keys")
        assert all("embed_positions" in name for name in missing)  # sines
    assert not any(report.values()), report
    check(model, network)
