"""Four kinds of attention on sequences of 4096 characters of Shakespeare.

Article: https://kexue.fm/archives/6853
    《为节约而生：从标准Attention到稀疏Attention》

Data: tinyshakespeare, 65 different characters, the first 90 % to train on. The
same causal model (2 layers, 4 heads of 32, rotary positions) learns to predict
the next character with dense, local (window 128), atrous (rate 64) and sparse
(both) self-attention, each for the same time, in a separate process.

python examples/long_text_sparse_attention.py
python examples/long_text_sparse_attention.py --smoke    (a few steps)

Measured on 2026-11-21 by the first command, seed 0, on a shared 2-core Xeon
(AVX-512), TensorFlow 2.21 with XLA, under other load with lower priority (load
11): 130 s of training each, 13 min in all. Nats a character are measured on the
held-out text; memory is the peak above the memory of the process before
training; a step has 4096 characters.

              nats a character   steps   characters a second   peak MB
    dense          2.903            25            775            1846
    local          2.051           359         11 309             619
    atrous         2.494           619         19 496             575
    sparse         2.038           401         12 605             666

Dense attention is the worst because it is slow, not because of its pattern: it
took only 25 steps in this time. Atrous attention is the fastest, but soon stops
improving, since it does not see the 63 characters before the next one. Sparse
attention computes more than local attention; it took more steps only because of
the varying load of the machine.
"""

import argparse
import dataclasses
import datetime
import json
import math
import pathlib
import platform
import resource
import subprocess
import sys
import time

import keras
import matplotlib
import numpy as np

from su_models.backend import has_xla
from su_models.data import load
from su_models.layers import (
    AtrousSelfAttention,
    LocalSelfAttention,
    MultiHeadAttention,
    SparseSelfAttention,
)
from su_models.utils.files import replacing

FOLDER = pathlib.Path("runs/long-text-sparse-attention")
KINDS = "dense", "local", "atrous", "sparse"


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the model and its training."""

    length: int = 4096
    window: int = 128
    rate: int = 64
    layers: int = 2
    heads: int = 4
    head_dim: int = 32
    learning_rate: float = 2e-3
    seconds: float = 130.0  # of training per kind, without compilation
    drawn: int = 384  # number of characters in a picture
    seed: int = 0


SMOKE = Config(
    length=96,
    window=8,
    rate=12,
    layers=1,
    heads=2,
    head_dim=8,
    seconds=1.0,
    drawn=48,
)


def attention(kind, config):
    """Returns one layer of self-attention."""
    cls, sizes = {
        "dense": (MultiHeadAttention, ()),
        "local": (LocalSelfAttention, ("window",)),
        "atrous": (AtrousSelfAttention, ("rate",)),
        "sparse": (SparseSelfAttention, ("rate", "window")),
    }[kind]
    return cls(
        num_heads=config.heads,
        head_dim=config.head_dim,
        rotary_base=10000.0,
        **{size: getattr(config, size) for size in sizes},
    )


def build(kind, vocabulary, config):
    """Returns a model with logits of the next character at each position."""
    d = config.heads * config.head_dim
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary, d)(ids)
    for i in range(config.layers):
        y = keras.layers.LayerNormalization(name=f"before_{i}")(x)
        layer = attention(kind, config)
        layer.name = f"attention_{i}"
        x = x + layer(y, use_causal_mask=True)
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(4 * d, activation="gelu")(y)
        x = x + keras.layers.Dense(d)(y)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(ids, keras.layers.Dense(vocabulary)(x))


class Crops(keras.utils.PyDataset):
    """Random parts of the text, one per step, equal for all kinds."""

    def __init__(self, ids, config):
        super().__init__()
        self.ids, self.config = ids, config

    def __len__(self):
        return 1_000_000  # the clock ends the training

    def __getitem__(self, step):
        random = np.random.default_rng((self.config.seed, step))
        start = random.integers(len(self.ids) - self.config.length)
        crop = self.ids[start : start + self.config.length + 1]
        return crop[None, :-1], crop[None, 1:]


class Clock(keras.callbacks.Callback):
    """Ends training after a given time, without the first, compiling step."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.start, self.total = seconds, None, 0.0
        self.curve = []  # seconds and loss of each step but the first

    def on_train_batch_end(self, batch, logs=None):
        # Keras reports the mean of all steps so far
        total = float(logs["loss"]) * (batch + 1)
        loss, self.total = total - self.total, total
        if self.start is None:
            self.start = time.perf_counter()
            return
        elapsed = time.perf_counter() - self.start
        self.curve.append((elapsed, loss))
        if elapsed > self.seconds:
            self.model.stop_training = True


def train(kind, config, folder):
    """Trains one kind, and writes its metrics, curve, model and maps."""
    keras.utils.set_random_seed(config.seed)
    text = {k: split["text"] for k, split in load("tinyshakespeare").items()}
    characters = sorted(set(text["train"]))
    numbers = {c: i for i, c in enumerate(characters)}
    ids = {
        k: np.array([numbers[c] for c in t], "int32") for k, t in text.items()
    }
    model = build(kind, len(characters), config)
    model.compile(
        keras.optimizers.Adam(config.learning_rate, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=has_xla(),
    )
    clock, before = Clock(config.seconds), peak_megabytes()
    model.fit(Crops(ids["train"], config), verbose=0, callbacks=[clock])
    peak = peak_megabytes() - before

    length = config.length
    held_out = ids["test"][: len(ids["test"]) // length * length]
    held_out = held_out.reshape(-1, length)[: 2 if config is SMOKE else None]
    loss = model.evaluate(
        held_out[:, :-1], held_out[:, 1:], batch_size=1, verbose=0
    )
    seconds, steps = clock.curve[-1][0], len(clock.curve)
    figures = {
        "test_loss": round(loss, 4),
        "bits_per_character": round(loss / math.log(2), 4),
        "steps": steps,
        "tokens_per_second": round(steps * length / seconds),
        "training_peak_mb": round(peak),
        "parameters": model.count_params(),
        "seconds": round(seconds, 1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "curve_and_maps.npz",
        curve=np.array(clock.curve),
        maps=maps(model, kind, held_out[:1, : config.drawn], config),
    )
    model.save(folder / "model.keras")
    with replacing(folder / "metrics.json") as new:
        new.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(f"{kind}: {figures}", flush=True)


def peak_megabytes():
    """Returns the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def maps(model, kind, ids, config):
    """Returns the attention weights of each layer, `(layers, heads, n, n)`.

    A sparse layer never computes all of them, but a dense layer with the same
    weights and the pattern as its mask does.
    """
    n, found = ids.shape[1], []
    i, j = np.arange(n)[:, None], np.arange(n)
    near, far = abs(i - j) <= config.window, (i - j) % config.rate == 0
    pattern = {
        "dense": near | True,
        "local": near,
        "atrous": far,
        "sparse": near | far,
    }[kind]
    for layer in range(config.layers):
        before = model.get_layer(f"before_{layer}").output
        x = keras.Model(model.input, before)(ids)
        dense = attention("dense", config)
        dense.build(x.shape)
        dense.set_weights(model.get_layer(f"attention_{layer}").get_weights())
        _, weights = dense(
            x,
            attention_mask=pattern[None],
            use_causal_mask=True,
            return_attention_scores=True,
        )
        found.append(keras.ops.convert_to_numpy(weights)[0])
    return np.stack(found)


def draw(folder):
    """Plots the attention of each head, and the losses."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    left = {k: np.load(folder / k / "curve_and_maps.npz") for k in KINDS}
    rows = [(m, h) for m, h in np.ndindex(left["dense"]["maps"].shape[:2])]
    figure, axes = pyplot.subplots(
        len(rows), len(KINDS), figsize=(3 * len(KINDS), 3 * len(rows))
    )
    for row, (layer, head) in zip(axes, rows, strict=True):
        for axis, kind in zip(row, KINDS, strict=True):
            weights = left[kind]["maps"][layer, head]
            axis.imshow(weights**0.25, cmap="magma", vmin=0, vmax=1)
            axis.set_title(f"{kind}, layer {layer + 1}, head {head + 1}")
            axis.set_xticks([])
            axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(folder / "attention.png", dpi=70)
    figure, axis = pyplot.subplots(figsize=(7, 4))
    for kind in KINDS:
        seconds, loss = left[kind]["curve"].T
        width = min(len(loss), 8)
        smooth = np.convolve(loss, np.ones(width) / width, "valid")
        axis.plot(seconds[width - 1 :], smooth, label=kind)
    axis.set_xlabel("seconds of training")
    axis.set_ylabel("nats a character, mean of 8 steps")
    axis.legend()
    figure.tight_layout()
    figure.savefig(folder / "training.png", dpi=100)


def main():
    """Trains each kind in its own process, and compares them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps")
    parser.add_argument("--kind", choices=KINDS, help="train only this one")
    given = parser.parse_args()
    config, folder = (SMOKE if given.smoke else Config()), FOLDER
    if given.smoke:
        folder = FOLDER.with_name(f"smoke-{FOLDER.name}")
    if given.kind:
        train(given.kind, config, folder / given.kind)
        return
    for kind in KINDS:
        if given.smoke:  # memory is not measured
            train(kind, config, folder / kind)
            continue
        child = [sys.executable, __file__, "--kind", kind]
        if subprocess.run(child).returncode:
            sys.exit(f"The process that trained `{kind}` failed.")
    draw(folder)
    metrics = {
        k: json.loads((folder / k / "metrics.json").read_text("utf-8"))
        for k in KINDS
    } | {
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "machine": platform.machine(),
        "date": datetime.date.today().isoformat(),
    }
    for name, content in (
        ("metrics.json", metrics),
        ("config.json", dataclasses.asdict(config)),
    ):
        with replacing(folder / name) as new:
            new.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    report(metrics)
    print(f"\nIn {folder}/: attention.png  training.png  metrics.json")


def report(metrics):
    """Prints a table of all kinds."""
    names = "test_loss", "steps", "tokens_per_second", "training_peak_mb"
    print(f"\n{'':8}" + "".join(f"{name:>18}" for name in names))
    for kind in KINDS:
        values = "".join(f"{metrics[kind][name]:>18}" for name in names)
        print(f"{kind:8}{values}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(str(error))
