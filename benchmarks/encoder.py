"""Encoders: a forward pass and a fine-tuning step, beside their peers.

BERT, RoFormer and RoFormerV2 of base size (12 layers, 768 features, 12 heads),
on batches of 8 x 128 and 1 x 512 ids without padding, by

* su_models on the backend of Keras: on TensorFlow as a graph, compiled by XLA
  and, as a graph, in `mixed_bfloat16`; on JAX compiled by XLA;
* keras-hub on the same backend (BERT and RoFormerV2);
* bert4keras 0.11.5 as a graph and compiled by XLA, in a separate process of the
  interpreter SU_MODELS_LEGACY_PYTHON;
* transformers on PyTorch in another process (BERT and RoFormer), with as many
  threads as there are cores, also with autocasting to bfloat16.

All have the same weights: the peers read a checkpoint. A training step is that
of a classifier of the first token with Adam, without dropout. keras-hub gets
the exact GELU of the others, no trained scales of RoFormerV2's norms, and an
Adam that sums the gradients of repeated tokens. Before anything is measured,
hidden states, the losses of three steps and the hidden states after them are
compared. Then the parties alternate in random order after a warm-up. bfloat16
needs a processor with AVX512-BF16 or AMX to be fast; whether there is one is
printed.

    KERAS_BACKEND=tensorflow python -m benchmarks.encoder
    KERAS_BACKEND=jax python -m benchmarks.encoder
    KERAS_BACKEND=tensorflow python -m benchmarks.encoder --startup

The last one measures new processes that import the library and build a BERT,
and such that build the same of Keras' own layers, with the same initializer.
The seed is 0. benchmarks/README.md lists results with dates and devices.
"""

import argparse
import importlib.util
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

import keras
import numpy as np

from benchmarks.common.bert4keras_encoder import FORMS as LEGACY_FORMS
from benchmarks.common.encoder_process import EncoderProcess
from benchmarks.common.keras_encoder import KerasEncoder
from benchmarks.common.peer_process import LEGACY, PeerProcess, legacy_python
from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from benchmarks.common.transformers_encoder import FAMILIES
from benchmarks.common.transformers_encoder import FORMS as TORCH_FORMS
from su_models.checkpoints import save_checkpoint
from su_models.models import build_transformer_model
from su_models.optimizers import SummedGradients

SEED = 0
BACKEND = keras.config.backend()
OURS, HUB = "su_models", "keras-hub"
RATE = 1e-4
STEPS = 3  # whose losses are compared
SHAPES = ("8x128", "1x512")
MODELS = {"bert": "gelu", "roformer": "gelu", "roformer_v2": "relu"}
BASE = {
    "vocab_size": 21128,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SMALL = {
    **BASE,
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
# largest errors: see `_errors`
ERRORS = {"float32": (1e-5, 1e-2, 1e-4), "bfloat16": (5e-2, 5e-2, 1e-1)}


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if BACKEND == "torch":
        raise SystemExit(
            "Steps compiled by XLA need KERAS_BACKEND=tensorflow or jax. "
            f"Received: {BACKEND}"
        )
    result = circumstances("keras", BACKEND, "numpy")
    print(f"{result['device']}, {result['vendor']}; bfloat16: ", end="")
    print(", ".join(result["bfloat16"]) or "only emulated")
    if given.startup:
        result["startup"] = startup(given.sizes, given.rounds)
    else:
        result["models"] = {
            model: _model(model, given) for model in given.models
        }
    if given.json:
        key = f"{BACKEND}, startup" if given.startup else BACKEND
        record(given.json, key, result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=[*MODELS]
    )
    parser.add_argument("--shapes", nargs="+", default=[*SHAPES])
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("forward", "step"),
        default=["forward", "step"],
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=("keras-hub", "bert4keras", "transformers"),
        default=["keras-hub", "bert4keras", "transformers"],
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--startup", action="store_true", help="imports only")
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    given.sizes = SMALL if given.smoke else BASE
    if given.smoke:
        given.rounds, given.shapes = 1, ["2x7"]
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/encoder.json")
    return given


# === Parties ===


def sizes_of(model, sizes):
    """Returns the configuration of a model, as bert4keras has it."""
    return {**sizes, "hidden_act": MODELS[model]}


def head_of(sizes):
    """Returns kernel and bias of the classifier."""
    random = np.random.default_rng(SEED)
    kernel = random.normal(scale=0.02, size=(sizes["hidden_size"], 2))
    return kernel.astype("float32"), np.zeros(2, "float32")


def adam():
    """Returns the optimizer of all parties."""
    return keras.optimizers.Adam(RATE, epsilon=1e-7)


def ours(model, folder, policy=None):
    """Returns the library's encoder, built under a dtype policy.

    Args:
        model: name of the family.
        folder: folder with the configuration and the checkpoint.
        policy: optional name of the policy.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        return build_transformer_model(
            folder / "config.json", folder / "encoder.ckpt", model
        )
    finally:
        keras.config.set_dtype_policy(before)


def write_encoder(model, sizes, folder):
    """Writes configuration, random weights and head to a folder."""
    keras.utils.set_random_seed(SEED)
    sizes = sizes_of(model, sizes)
    (folder / "config.json").write_text(json.dumps(sizes))
    encoder = build_transformer_model(folder / "config.json", model=model)
    random = np.random.default_rng(SEED)
    for weight in encoder.trainable_weights:  # biases and scales count
        noise = random.normal(scale=0.01, size=weight.shape)
        weight.assign(weight + noise.astype("float32"))
    save_checkpoint(encoder, folder / "encoder.ckpt", model)
    if model in FAMILIES:
        save_checkpoint(encoder, folder / "model.safetensors", model)
    kernel, bias = head_of(sizes)
    np.savez(folder / "head.npz", kernel=kernel, bias=bias)


def hub(model, sizes, encoder):
    """Returns inputs and hidden states of keras-hub's encoder.

    Args:
        model: "bert" or "roformer_v2".
        sizes: the configuration.
        encoder: the library's encoder, whose weights it gets.
    """
    import keras_hub

    arguments = {
        "vocabulary_size": sizes["vocab_size"],
        "num_layers": sizes["num_hidden_layers"],
        "num_heads": sizes["num_attention_heads"],
        "hidden_dim": sizes["hidden_size"],
        "intermediate_dim": sizes["intermediate_size"],
        "dropout": 0.0,
    }
    if model == "bert":
        backbone = keras_hub.models.BertBackbone(
            max_sequence_length=sizes["max_position_embeddings"], **arguments
        )
    else:
        size = sizes["hidden_size"] // sizes["num_attention_heads"]
        backbone = keras_hub.models.RoformerV2Backbone(
            head_size=size, **arguments
        )
    give = _give_bert if model == "bert" else _give_roformer_v2
    give(backbone, {x.name: x.get_weights() for x in encoder.layers})
    ids, segments = (keras.Input((None,), dtype="int32") for _ in range(2))
    inputs = {"token_ids": ids, "segment_ids": segments}
    if model == "bert":
        inputs["padding_mask"] = keras.ops.ones_like(ids)
        return [ids, segments], backbone(inputs)["sequence_output"]
    return [ids, segments], backbone(inputs)


def _give_bert(backbone, weights):
    """Gives keras-hub's BERT the library's weights, and the exact GELU."""
    for name in ("token", "segment", "position"):
        layer = getattr(backbone, f"{name}_embedding")
        layer.set_weights(weights[f"Embedding-{name.capitalize()}"])
    norm = weights["Embedding-Norm"][::-1]  # β, γ here and γ, β there
    backbone.embeddings_layer_norm.set_weights(norm)
    backbone.pooled_dense.trainable = False  # its output is not used
    for i, block in enumerate(backbone.transformer_layers):
        attention = f"Transformer-{i}-MultiHeadSelfAttention"
        forward = f"Transformer-{i}-FeedForward"
        kernels = weights[forward]
        inner = _layers_in(block)
        inner[
            "feedforward_intermediate_dense"
        ].activation = keras.activations.gelu
        for name, values in {
            "self_attention_layer": weights[attention],
            "self_attention_layer_norm": weights[f"{attention}-Norm"][::-1],
            "feedforward_intermediate_dense": kernels[:2],
            "feedforward_output_dense": kernels[2:],
            "feedforward_layer_norm": weights[f"{forward}-Norm"][::-1],
        }.items():
            inner[name].set_weights(values)


def _give_roformer_v2(backbone, weights):
    """Gives keras-hub's RoFormerV2 the library's weights.

    Its normalizations have a scale, which remains 1.
    """
    for name in ("token", "segment"):
        layer = getattr(backbone, f"{name}_embedding")
        layer.set_weights(weights[f"Embedding-{name.capitalize()}"])
    backbone.embeddings_layer_norm.trainable = False
    for i, block in enumerate(backbone.transformer_layers):
        inner = _layers_in(block)
        attention = _layers_in(inner["attention_layer"])
        kernels = weights[f"Transformer-{i}-MultiHeadSelfAttention"]
        for name, kernel in zip("qkvo", kernels, strict=True):
            dense = attention[f"{name}_dense_layer"]
            dense.set_weights([kernel.reshape(dense.kernel.shape)])
        first, last = weights[f"Transformer-{i}-FeedForward"]
        inner["feedforward_intermediate_dense"].set_weights([first])
        inner["feedforward_output_dense"].set_weights([last])
        for name in ("attention_norm", "feedforward_norm"):
            inner[name].trainable = False


def _layers_in(layer):
    """Returns the layers in the attributes of a layer, by name."""
    found = vars(layer).values()
    return {x.name: x for x in found if isinstance(x, keras.layers.Layer)}


def parties(model, sizes, folder, peers):
    """Yields the parties of a model; the first is the library."""
    head = head_of(sizes)
    graphs = {"graph": False, "XLA": True}
    forms = graphs if BACKEND == "tensorflow" else {"XLA": True}
    encoder = ours(model, folder)
    yield KerasEncoder(
        OURS, forms, encoder.inputs, encoder.output, head, adam()
    )
    if BACKEND == "tensorflow":
        half = ours(model, folder, "mixed_bfloat16")
        forms_of_half = {"graph, bfloat16": False}
        yield KerasEncoder(
            OURS, forms_of_half, half.inputs, half.output, head, adam()
        )
    if HUB in peers and model != "roformer":
        if importlib.util.find_spec("keras_hub") is None:
            raise SystemExit(
                "`pip install --no-deps keras-hub`, or leave it out: --peers. "
                "Received: no module keras_hub"
            )
        inputs, hidden = hub(model, sizes, encoder)
        # on TensorFlow, Keras lists a row of a table once for each lookup
        summed = SummedGradients(adam())
        yield KerasEncoder(HUB, forms, inputs, hidden, head, summed)
    if "bert4keras" in peers:
        process = PeerProcess(
            legacy_python(), "benchmarks.common.bert4keras_encoder", LEGACY
        )
        yield EncoderProcess(
            "bert4keras", tuple(LEGACY_FORMS), process, model, folder, RATE
        )
    if "transformers" in peers and model in FAMILIES:
        process = PeerProcess(
            sys.executable, "benchmarks.common.transformers_encoder"
        )
        yield EncoderProcess(
            "transformers", TORCH_FORMS, process, model, folder, RATE
        )


def write_batch(shape, sizes, path):
    """Writes a batch without padding; a shape is "batch x length"."""
    batch, length = map(int, shape.split("x"))
    random = np.random.default_rng(SEED)
    ids = random.integers(1, sizes["vocab_size"], (batch, length), "int32")
    segments = np.zeros_like(ids)
    segments[:, length // 2 :] = 1
    labels = (np.arange(batch) % 2).astype("int32")
    np.savez(path, ids=ids, segments=segments, labels=labels)


# === Comparison and measurement ===


def check_same(everyone, folder):
    """Exits if a party computes other numbers than the first.

    Compares hidden states, losses of a few steps, and hidden states after
    these steps.

    Args:
        everyone: list of parties.
        folder: folder with `batch.npz`.

    Returns:
        A dict from the names of parties to their three errors.
    """
    wanted, errors = None, {}
    for party in everyone:
        for form in party.forms:
            name = f"{party.name}, {form}"
            found = _numbers(party, form, folder)
            wanted = wanted or found
            errors[name] = _errors(found, wanted, form)
            dtype = "bfloat16" if "bfloat16" in form else "float32"
            if not np.less_equal(errors[name], ERRORS[dtype]).all():
                raise SystemExit(
                    f"{name} gives other numbers than {everyone[0].name}. "
                    f"Received: errors {errors[name]}"
                )
    return errors


def _numbers(party, form, folder):
    """Returns hidden states, losses, and hidden states after training."""
    path = folder / "hidden.npy"
    party.prepare(folder / "batch.npz")  # with the initial weights
    party.hidden(form, path)
    hidden, losses = np.load(path), np.array(party.losses(form, STEPS))
    party.hidden(form, path)
    return hidden, losses, np.load(path)


def _errors(found, wanted, form):
    """Returns the errors of hidden states, losses, and states after training.

    Hidden states: the root mean square of the difference, relative to theirs.
    Losses: the largest difference, relative to their change in these steps;
    in bfloat16, whose errors are larger, the difference itself.
    """
    (x, losses, trained), (y, others, wanted_trained) = found, wanted
    unit = 1.0 if "bfloat16" in form else np.ptp(others)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = float(np.max(np.abs(losses - others) / unit))
    return _rms_error(x, y), error, _rms_error(trained, wanted_trained)


def _rms_error(x, y):
    return float(np.sqrt(np.mean((x - y) ** 2) / np.mean(y**2)))


def claims(summary):
    """Returns how often slower the peers are than the library's best form.

    Of bert4keras, the graph and the best form; bfloat16 is left out, and
    compared with the library's graph of float32.
    """
    times = {name: row["median_ms"] for name, row in summary.items()}

    def best(start):
        found = [
            t
            for name, t in times.items()
            if name.startswith(start) and "bfloat16" not in name
        ]
        return min(found) if found else None

    mine, found = best(OURS), {}
    for peer in (HUB, "bert4keras, graph", "bert4keras", "transformers"):
        if best(peer) is not None:
            found[f"{peer} / {OURS}"] = best(peer) / mine
    half = times.get(f"{OURS}, graph, bfloat16")
    if half is not None:
        found["bfloat16 / float32, graph"] = half / times[f"{OURS}, graph"]
    return found


def _model(model, given):
    """Measures one model on all shapes."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_encoder(model, given.sizes, folder)
        everyone, results = [], {}
        try:
            for party in parties(model, given.sizes, folder, given.peers):
                everyone.append(party)
            for shape in given.shapes:
                write_batch(shape, given.sizes, folder / "batch.npz")
                errors = check_same(everyone, folder)
                results[shape] = {
                    part: _part(
                        f"{model} {shape}, {part}", part, everyone, given
                    )
                    for part in given.parts
                }
                results[shape]["errors"] = errors
                print("errors: hidden states, losses, states after training")
                for party, found in errors.items():
                    print(f"  {party}:", *(f"{error:.1e}" for error in found))
        finally:
            for party in everyone:
                party.close()
    return results


def _part(title, part, everyone, given):
    """Measures forward passes or steps of all parties alternately."""
    peers = {
        f"{party.name}, {form}": lambda party=party, form=form: getattr(
            party, part
        )(form)
        for party in everyone
        for form in party.forms
    }
    for peer in peers.values():
        peer()
    seconds = alternate(peers, given.rounds, SEED)
    unit = min(
        (n for n in peers if n.startswith(OURS) and "bfloat16" not in n),
        key=lambda n: statistics.median(seconds[n]),
    )
    summary = summarize(seconds, unit)
    show(f"{title}, {given.rounds} rounds; ours: {unit}", summary)
    found = claims(summary)
    for name, ratio in found.items():
        print(f"  {name}: {ratio:.2f}")
    return {"summary": summary, "seconds": seconds, "claims": found}


# === Import and build ===

LIBRARY = """
from su_models.models import build_transformer_model
model = build_transformer_model(model="bert", hidden_act="gelu", **sizes)
"""
KERAS = """
import keras
from keras import layers
d, h = sizes["hidden_size"], sizes["num_attention_heads"]
ids, segments, positions = (keras.Input((None,), dtype="int32"),) * 3
normal = keras.initializers.TruncatedNormal(stddev=0.02)
table = {"embeddings_initializer": normal}
kernel = {"kernel_initializer": normal}
x = layers.Add()([
    layers.Embedding(sizes["vocab_size"], d, **table)(ids),
    layers.Embedding(2, d, **table)(segments),
    layers.Embedding(512, d, **table)(positions),
])
x = layers.LayerNormalization()(x)
for _ in range(sizes["num_hidden_layers"]):
    y = layers.MultiHeadAttention(h, d // h, **kernel)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Dense(sizes["intermediate_size"], "gelu", **kernel)(x)
    y = layers.Dense(d, **kernel)(y)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
model = keras.Model(ids, x)
"""


def startup(sizes, rounds):
    """Measures processes that import and build, and prints the difference.

    Beside the time that passes, the time that processors work is measured,
    which other load of the machine changes less.
    """
    sizes = {key: sizes[key] for key in sizes if "dropout" not in key}
    processors = {OURS: [], "Keras": []}

    def run(name, code):
        code = f"sizes = {sizes!r}\n{code}"
        before = _processor_seconds()
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True
        )
        processors[name].append(_processor_seconds() - before)

    peers = {
        OURS: lambda: run(OURS, LIBRARY),
        "Keras": lambda: run("Keras", KERAS),
    }
    for name, peer in peers.items():
        peer()
        processors[name].clear()  # without the warm-up
    seconds = alternate(peers, rounds, SEED)
    summary = summarize(seconds, OURS)
    show(f"import and build, {rounds} rounds", summary)
    more = _median_difference(seconds)
    processor_more = _median_difference(processors)
    print(
        f"su_models takes {more:+.2f} s more than Keras, "
        f"{processor_more:+.2f} s of processors"
    )
    return {
        "summary": summary,
        "seconds": seconds,
        "processors": processors,
        "more": more,
        "processor_more": processor_more,
    }


def _processor_seconds():
    """Returns the user and system time of all processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _median_difference(seconds):
    """Returns the median of ours less the median of Keras."""
    return statistics.median(seconds[OURS]) - statistics.median(
        seconds["Keras"]
    )


if __name__ == "__main__":
    main()
