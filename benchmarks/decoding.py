"""Generation with caches: `models.generate` and its peers.

A UniLM of RoFormer and a GPT-2, both with 6 layers of 384 and a vocabulary of
12 000, generate 48 tokens after prompts of 64, in float32: greedily and with 3
beams, for 1 and for 16 prompts. The same run alternates with

* `floor`: a compiled loop over the matrix products of as many steps, and
  nothing else; without attention, which no decoder can do. The best of two
  layouts of the tied embeddings counts.
* bert4keras' `AutoRegressiveDecoder`, RoFormer only, in a process of the
  interpreter SU_MODELS_LEGACY_PYTHON, as the author's scripts use it (`predict`
  of the whole sequence at every token), and with one program for all lengths
  instead (`tf.function`). It decodes one prompt after the other, so the time
  for 16 prompts is 16 times that for one.
* `generate` of transformers on PyTorch, with its cache, GPT-2 only.

All have the same weights and must generate the same ids before anything is
measured. A time is that of the whole call, from NumPy to NumPy, divided by the
48 tokens: the prompt is part of it.

    KERAS_BACKEND=tensorflow python -m benchmarks.decoding
    KERAS_BACKEND=jax python -m benchmarks.decoding --peers floor transformers
    KERAS_BACKEND=tensorflow python -m benchmarks.decoding --growth

The last one measures the time of a token after prompts of 256 to 4096 tokens,
and fits how it grows. The seed is 0. benchmarks/README.md lists results with
dates and devices.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

import keras
import numpy as np
from keras import ops

from benchmarks.common.bert4keras_decoder import FORMS as LEGACY_FORMS
from benchmarks.common.bert4keras_decoder import PREDICT
from benchmarks.common.peer_process import LEGACY, PeerProcess, legacy_python
from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from su_models.backend.compile import compiled
from su_models.checkpoints import save_checkpoint
from su_models.models import build_transformer_model, generate

SEED = 0
BACKEND = keras.config.backend()
OURS, FLOOR, LEGACY_PEER = "su_models", "floor", "bert4keras"
PEER = "transformers"
SIZES = {
    "vocab_size": 12000,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
    "hidden_act": "gelu",
    "max_position": 512,
}
SMALL = {
    **SIZES,
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
MODELS = {  # to the arguments besides the sizes
    "roformer": {"application": "unilm"},
    "gpt2": {"hidden_act": "gelu_new", "final_activation": "linear"},
}
PEERS = {"roformer": (FLOOR, LEGACY_PEER), "gpt2": (PEER,)}
LOADS = {  # to the numbers of prompts and beams
    "1 x greedy": (1, 1),
    "1 x beam 3": (1, 3),
    "16 x greedy": (16, 1),
    "16 x beam 3": (16, 3),
}
CONTEXTS = 256, 512, 1024, 2048, 4096


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if BACKEND == "torch":
        raise SystemExit(
            "Generation in one program needs KERAS_BACKEND=tensorflow or jax. "
            "Received: torch"
        )
    result = circumstances("keras", BACKEND, "transformers", "torch", "numpy")
    print(f"{result['device']}, {result['vendor']}; load {result['load']:.1f}")
    if given.growth:
        key, result["growth"] = f"{BACKEND}, growth", growth(given)
    else:
        key = BACKEND
        result |= {name: compare(name, given) for name in given.models}
    if given.json:
        record(given.json, key, result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=[*MODELS]
    )
    everyone = [FLOOR, LEGACY_PEER, PEER]
    parser.add_argument(
        "--peers", nargs="*", choices=everyone, default=everyone
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--growth", action="store_true", help="contexts only")
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    given.sizes, given.prompt, given.new = SIZES, 64, 48
    given.contexts = CONTEXTS
    if given.smoke:
        given.sizes, given.prompt, given.new, given.rounds = SMALL, 8, 6, 1
        given.contexts = 16, 32
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/decoding.json")
    return given


# === Parties: objects with `forms` and `generate(form, samples, beams)` ===


class _Ours:
    """The library's model, and its prompts."""

    forms = ("one program",)

    def __init__(self, model, prompts, new):
        self.model, self.prompts, self.new = model, prompts, new

    def generate(self, form, samples, beams):
        """Returns the ids of the first prompts."""
        return generate(
            self.model,
            self.prompts[:samples],
            max_new_tokens=self.new,
            beam_size=beams,
        ).tolist()

    def close(self):
        """Does nothing."""


class _Peer:
    """A decoder in another process."""

    def __init__(self, module, forms, python, environment, folder, given):
        self.forms = forms
        self._process = PeerProcess(
            python, f"benchmarks.common.{module}", environment
        )
        self._process.ask(
            "build",
            folder=str(folder),
            prompts=prompts_of(given).tolist(),
            max_new_tokens=given.new,
        )

    def generate(self, form, samples, beams):
        """Returns the ids of the first prompts."""
        return self._process.ask(
            "generate", form=form, samples=samples, beams=beams
        )

    def close(self):
        """Ends the process."""
        self._process.close()


def prompts_of(given):
    """Returns the prompts, int32 `(16, n)`."""
    random = np.random.default_rng(SEED)
    shape = max(samples for samples, _ in LOADS.values()), given.prompt
    return random.integers(1, given.sizes["vocab_size"], shape, "int32")


def build(name, sizes):
    """Returns the library's model with random weights."""
    keras.utils.set_random_seed(SEED)
    model = build_transformer_model(model=name, **{**sizes, **MODELS[name]})
    random = np.random.default_rng(SEED)
    for weight in model.trainable_weights:  # biases and scales count
        noise = random.normal(scale=0.05, size=weight.shape)
        weight.assign(weight + noise.astype("float32"))
    return model


def parties(name, folder, given):
    """Yields the names and the decoders of a model; the first is ours."""
    model = build(name, given.sizes)
    yield OURS, _Ours(model, prompts_of(given), given.new)
    if name == "roformer" and LEGACY_PEER in given.peers:
        (folder / "config.json").write_text(json.dumps(given.sizes))
        save_checkpoint(model, folder / "encoder.ckpt", name)
        python, module = legacy_python(), "bert4keras_decoder"
        yield (
            LEGACY_PEER,
            _Peer(module, LEGACY_FORMS, python, LEGACY, folder, given),
        )
    if name == "gpt2" and PEER in given.peers:
        (folder / "config.json").write_text(json.dumps(given.sizes))
        save_checkpoint(model, folder / "model.safetensors", name)
        python, module = sys.executable, "transformers_decoder"
        yield PEER, _Peer(module, ("cached",), python, None, folder, given)


def floors(sizes, rows, new):
    """Returns the loops over the products of a RoFormer's steps, by layout."""
    random = np.random.default_rng(SEED)
    width, inner = sizes["hidden_size"], sizes["intermediate_size"]

    def kernel(*shape):
        values = random.normal(scale=shape[0] ** -0.5, size=shape)
        return ops.convert_to_tensor(values.astype("float32"))

    layers = [
        [
            kernel(width, 3 * width),
            kernel(width, width),
            kernel(width, inner),
            kernel(inner, width),
        ]
        for _ in range(sizes["num_hidden_layers"])
    ]
    dense = kernel(width, width)
    table = ops.transpose(kernel(width, sizes["vocab_size"]))  # (v, d)
    start = kernel(rows, width)

    def run(carried):
        def loop(start, layers, dense, table):
            first = ops.transpose(table) if carried else table

            def body(i, x, total, table):
                h = x
                for qkv, output, up, down in layers:
                    h = ops.matmul(ops.matmul(h, qkv)[:, :width], output)
                    h = ops.matmul(ops.matmul(h, up), down)
                table_t = table if carried else ops.transpose(table)
                logits = ops.matmul(ops.matmul(h, dense), table_t)
                x = start + 1e-3 * logits[:, :width]
                return i + 1, x, total + ops.sum(logits), table

            zero = ops.convert_to_tensor(0, "int32")
            total = ops.convert_to_tensor(0.0, "float32")
            return ops.while_loop(
                lambda i, *_: i < new,
                body,
                (zero, start, total, first),
                maximum_iterations=new,
            )[2]

        program = compiled(loop)
        return lambda: float(program(start, layers, dense, table))

    return {
        f"{FLOOR}, E transposed once": run(True),
        f"{FLOOR}, E transposed in each step": run(False),
    }


# === Comparison and measurement ===


def compare(name, given):
    """Checks and measures one model under all loads."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        everyone = {}
        try:
            for party, decoder in parties(name, pathlib.Path(folder), given):
                everyone[party] = decoder
            for load, (samples, beams) in LOADS.items():
                check_same(everyone, samples, beams)
                found[load] = _measured(
                    f"{name}, {load}", everyone, samples, beams, given
                )
        finally:
            for decoder in everyone.values():
                decoder.close()
    return found


def _share(party, samples):
    """Returns how many of the prompts a party decodes in a measurement."""
    return 1 if party == LEGACY_PEER else samples  # it decodes one by one


def check_same(everyone, samples, beams):
    """Exits if a party generates other ids than the library.

    Args:
        everyone: dict from names to decoders; the first is the library's.
        samples, beams: the load.
    """
    wanted = everyone[OURS].generate(*everyone[OURS].forms, samples, beams)
    for party, decoder in everyone.items():
        count = _share(party, samples)
        for form in decoder.forms:
            ids = decoder.generate(form, count, beams)
            if ids != wanted[:count]:
                raise SystemExit(
                    f"{party}, {form}, generates other ids than {OURS} with "
                    f"{beams} beams. Received: {ids}"
                )


def _measured(title, everyone, samples, beams, given):
    """Measures a load; returns the summary, ms a token and ratios."""
    peers = {
        f"{party}, {form}": lambda d=decoder, f=form, p=party: d.generate(
            f, _share(p, samples), beams
        )
        for party, decoder in everyone.items()
        for form in decoder.forms
    }
    if title.startswith("roformer") and FLOOR in given.peers:
        peers |= floors(given.sizes, samples * beams, given.new)
    for peer in peers.values():
        peer()
    seconds = alternate(peers, given.rounds, SEED)
    for peer, times in seconds.items():  # of a token, of all prompts
        count = samples / _share(peer.split(",")[0], samples)
        seconds[peer] = [count * time / given.new for time in times]
    ours = next(iter(peers))
    summary = summarize(seconds, ours)
    show(f"{title}, a token, {given.rounds} rounds", summary)
    ratios = claims(summary)
    for claim, ratio in ratios.items():
        print(f"  {claim}: {ratio:.2f}")
    return {"summary": summary, "seconds": seconds, "claims": ratios}


def claims(summary):
    """Returns the library's time relative to the floor, and the peers' to it.

    Of the floor, the best layout counts; of bert4keras, `predict`.
    """
    times = {name: row["median_ms"] for name, row in summary.items()}
    mine = times[next(iter(times))]
    found = {}
    best = [t for name, t in times.items() if name.startswith(FLOOR)]
    if best:
        found[f"{OURS} / {FLOOR}"] = mine / min(best)
    for name in f"{LEGACY_PEER}, {PREDICT}", f"{PEER}, cached":
        if name in times:
            found[f"{name} / {OURS}"] = times[name] / mine
    return found


# === Growth with the context ===


def growth(given):
    """Measures a token after contexts of several lengths, and its growth.

    A token takes the difference of the times for many tokens and for one,
    divided by the number of the tokens between.
    """
    sizes = {**given.sizes, "max_position": 2 * max(given.contexts)}
    model = build("roformer", sizes)
    random = np.random.default_rng(SEED)
    many = given.new
    peers = {}
    for context in given.contexts:
        prompt = random.integers(1, sizes["vocab_size"], (1, context), "int32")
        for new in 1, 1 + many:
            peers[context, new] = lambda p=prompt, n=new: generate(
                model, p, max_new_tokens=n, beam_size=1
            )
    for peer in peers.values():
        peer()
    seconds = alternate(peers, given.rounds, SEED)
    tokens = {}
    for context in given.contexts:
        pairs = zip(
            seconds[context, 1 + many], seconds[context, 1], strict=True
        )
        tokens[context] = statistics.median(a - b for a, b in pairs) / many
        print(f"context {context}: {1e3 * tokens[context]:.2f} ms a token")
    exponent = None
    if min(tokens.values()) > 0:  # short contexts can be lost in the noise
        logs = np.log([*tokens]), np.log([*tokens.values()])
        exponent = float(np.polyfit(*logs, 1)[0])
        print(f"A token takes time ~ context^{exponent:.2f}")
    return {
        "milliseconds": {str(n): 1e3 * t for n, t in tokens.items()},
        "exponent": exponent,
    }


if __name__ == "__main__":
    main()
