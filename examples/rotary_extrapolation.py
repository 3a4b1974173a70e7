"""Behavior of position embeddings beyond the trained length.

Article: https://kexue.fm/archives/8265
    《Transformer升级之路：2、博采众长的旋转式位置编码》
Article: https://kexue.fm/archives/9431
    《Transformer升级之路：7、长度外推性与局部注意力》
Article: https://kexue.fm/archives/8823
    《从熵不变性看Attention的Scale操作》
Article: https://kexue.fm/archives/7947
    《层次分解位置编码，让BERT可以处理超长文本》

Small causal character models that differ only in their positions are trained
on 128 characters at a time, and then read 512 characters of held-out text.

Data: the documentation in Python (`pydoc_data.topics`), with each tenth topic
held out, so the text and, slightly, the results depend on the version of
Python. Two blocks of 4 heads of 16, 0.1 million weights, 1000 steps of 16
windows, Adam.

python examples/rotary_extrapolation.py
python examples/rotary_extrapolation.py --smoke    (three steps of each)

Measured on 2026-11-21 by the first command, seed 0 (one run of each), Python
3.11, on a shared 2-core Xeon under other load, TensorFlow 2.21 with XLA: 39 to
87 s of training each, 275 s in all. Bits a character:

    position                                 64-127  128-255  256-511
    learned, 128 rows; hierarchical beyond    2.797    5.458    5.395
    sinusoidal                                2.653    5.421    5.832
    bias of T5                                2.569    2.569    3.069
    rotary                                    2.484    3.725    5.520
    rotary, window of 128 when reading        2.484    2.309    2.293
    rotary, scores scaled by log n            2.509    3.658    5.305

The standard errors, over windows of the same text, are near 0.1 in the first
column and near 0.05 in the others. Up to the trained length the rotary model
has the lowest loss. Beyond it, absolute positions fail at once; rotary
positions work up to about 1.4 times the length and then fail too, since larger
distances did not occur in training. With the same weights and attention to
only the last 128 characters (9431), the loss does not increase. Scores that
grow with log n, which gained the author up to 11 points of accuracy, gain
little here (the author's model was masked, this one is causal). The
hierarchical table is meant as a start for further training, which is not done
here; the plain table has no vectors for these positions.
"""

import argparse
import datetime
import json
import pathlib
import platform
import pydoc_data.topics
import sys
import time

import keras
import numpy as np
from matplotlib.figure import Figure

from su_models.backend import has_xla
from su_models.export import export_saved_model
from su_models.layers import (
    LocalSelfAttention,
    MultiHeadAttention,
    PositionEmbedding,
    RelativePositionBias,
    SinusoidalPositionEmbedding,
)
from su_models.utils.files import replacing

FOLDER = pathlib.Path("runs/rotary-extrapolation")
TRAINED, READ = 128, 512  # characters
HEADS, HEAD_DIM, BLOCKS = 4, 16, 2
STEPS, BATCH, RATE = 1000, 16, 3e-3
SEED = 0

# position embeddings of the models; a model with a window has the weights of
# another one, and attends only to the last 128 characters
KINDS = {
    "learned": {},
    "sinusoidal": {},
    "bias": {},
    "rotary": {"rotary_base": 10000.0},
    "rotary, log n": {
        "rotary_base": 10000.0,
        "normalization": "softmax_plus",
    },
}
WINDOWED = ("rotary", "rotary, windowed")
NAMES = {
    "learned": "learned, 128 rows; hierarchical beyond",
    "sinusoidal": "sinusoidal",
    "bias": "bias of T5",
    "rotary": "rotary",
    "rotary, log n": "rotary, scores scaled by log n",
    "rotary, windowed": "rotary, window of 128 when reading",
}
RANGES = {"64-127": (64, 128), "128-255": (128, 256), "256-511": (256, 512)}


def texts():
    """Returns the characters, and the codes for training and held-out topics.

    Each tenth topic is held out. Characters that occur fewer than 20 times
    have code 0.
    """
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    held_out = "\n\n".join(topics[::10])
    train = "\n\n".join(t for i, t in enumerate(topics) if i % 10)
    found, counts = np.unique(list(train), return_counts=True)
    known = ["\0", *found[counts >= 20]]
    code = {character: i for i, character in enumerate(known)}
    coded = [
        np.array([code.get(c, 0) for c in text], "int32")
        for text in (train, held_out)
    ]
    return known, *coded


def random_windows(codes, count, length, seed):
    """Returns inputs and targets, `(count, length)`, at random positions."""
    random = np.random.default_rng(seed)
    starts = random.integers(len(codes) - length, size=(count, 1))
    windows = codes[starts + np.arange(length + 1)]
    return windows[:, :-1], windows[:, 1:]


def all_windows(codes, length):
    """Returns inputs and targets of consecutive windows."""
    count = (len(codes) - 1) // length
    shape = count, length
    x, y = codes[: count * length], codes[1 : count * length + 1]
    return x.reshape(shape), y.reshape(shape)


def build(vocabulary, kind, window=None):
    """Returns a causal model from `(batch, length)` codes to logits."""
    dim = HEADS * HEAD_DIM
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(
        vocabulary, dim, embeddings_initializer="normal"
    )(ids)
    options, given = dict(KINDS[kind]), {}
    if kind == "learned":
        x = PositionEmbedding(TRAINED, hierarchical=True)(x)
    elif kind == "sinusoidal":
        x = SinusoidalPositionEmbedding()(x)
    elif kind == "bias":
        bias = RelativePositionBias(HEADS, bidirectional=False)(x)
        given = {"attention_bias": bias}
    for _ in range(BLOCKS):
        if window is None:
            attention = MultiHeadAttention(HEADS, HEAD_DIM, **options)
        else:
            attention = LocalSelfAttention(
                HEADS, HEAD_DIM, window - 1, **options
            )
        y = keras.layers.LayerNormalization()(x)
        x = x + attention(y, use_causal_mask=True, **given)
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(4 * dim, activation="gelu")(y)
        x = x + keras.layers.Dense(dim)(y)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(ids, keras.layers.Dense(vocabulary)(x), name="reader")


def train(model, x, y, steps, jit_compile):
    """Trains on each window once; returns the seconds."""
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=RATE, warmup_steps=steps // 10, alpha=0.05
    )
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=2)
    return time.perf_counter() - start


def losses(model, x, y):
    """Returns the bits of each character, `(windows, length)`."""
    parts = [model(x[i : i + 8]) for i in range(0, len(x), 8)]
    logits = np.concatenate([keras.ops.convert_to_numpy(p) for p in parts])
    logits = logits.astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(logits).sum(axis=-1))
    own = np.take_along_axis(logits, y[..., None], axis=-1)[..., 0]
    return (total - own) / np.log(2)


def by_range(bits):
    """Returns the mean of each range of `RANGES`, and its standard error."""
    figures = {}
    for name, (low, high) in RANGES.items():
        of_windows = bits[:, low:high].mean(axis=1)
        error = of_windows.std() / max(len(of_windows) - 1, 1) ** 0.5
        figures[name] = [float(of_windows.mean()), float(error)]
    return figures


def draw(curves, path):
    """Plots the bits at each position, averaged over 16 neighbors."""
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for kind, bits in curves.items():
        mean = bits.mean(axis=0)
        mean = mean[: len(mean) // 16 * 16].reshape(-1, 16).mean(axis=1)
        axes.plot(16 * np.arange(len(mean)) + 8, mean, label=NAMES[kind])
    axes.axvline(TRAINED, color="black", linestyle=":")
    axes.text(
        TRAINED + 4, 0.98, "not trained", transform=_mixed(axes), va="top"
    )
    axes.set(
        xlabel="position",
        ylabel="bits a character, held-out text",
        title="Trained on 128 characters, reading 512",
    )
    figure.legend(loc="outside lower center", ncols=2)
    axes.grid(alpha=0.3)
    with replacing(path) as new:
        figure.savefig(new, format="png", dpi=110)


def _mixed(axes):
    """Returns a transform with x in data and y in axes coordinates."""
    return axes.get_xaxis_transform()


def write(path, figures):
    """Writes results as JSON atomically."""
    with replacing(path) as new:
        new.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def main():
    """Trains and evaluates each kind, and plots the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps")
    smoke = parser.parse_args().smoke
    folder, steps, jit = FOLDER, STEPS, has_xla()
    if smoke:
        folder = FOLDER.with_name(f"smoke-{FOLDER.name}")
        steps, jit = 3, False  # compilation would take most of the time
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "trained": TRAINED,
        "read": READ,
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "blocks": BLOCKS,
        "steps": steps,
        "batch": BATCH,
        "rate": RATE,
        "seed": SEED,
    }
    write(folder / "config.json", config)

    # === Text ===
    characters, codes, held_out = texts()
    x, y = random_windows(codes, steps * BATCH, TRAINED, SEED)
    test_x, test_y = all_windows(held_out, READ)
    if smoke:
        test_x, test_y = test_x[:2], test_y[:2]

    # === Models ===
    curves, seconds, parameters = {}, {}, {}
    for kind in KINDS:
        print(f"\n== {NAMES[kind]}")
        keras.utils.set_random_seed(SEED)
        model = build(len(characters), kind)
        seconds[kind] = train(model, x, y, steps, jit)
        parameters[kind] = model.count_params()
        curves[kind] = losses(model, test_x, test_y)
        if kind == WINDOWED[0]:
            near = build(len(characters), kind, window=TRAINED)
            near.set_weights(model.get_weights())
            curves[WINDOWED[1]] = losses(near, test_x, test_y)
            model.save(folder / "model.keras")
            if keras.backend.backend() != "torch":
                export_saved_model(model, folder / "saved_model")

    # === Figures ===
    draw(curves, folder / "losses.png")
    figures = {kind: by_range(bits) for kind, bits in curves.items()}
    metrics = {
        "bits_and_standard_error": figures,
        "training_seconds": {k: round(s, 1) for k, s in seconds.items()},
        "parameters": parameters,
        "characters": [len(codes), len(held_out), len(characters)],
        "windows": len(test_x),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "machine": platform.machine(),
        "date": datetime.date.today().isoformat(),
    }
    write(folder / "metrics.json", metrics)
    report(figures, folder)


def report(figures, folder):
    """Prints the table of the docstring."""
    print(f"\n{'bits a character at':40}", *(f"{r:>9}" for r in RANGES))
    for kind, ranges in figures.items():
        print(f"{NAMES[kind]:40}", *(f"{b:9.3f}" for b, _ in ranges.values()))
    errors = [e for ranges in figures.values() for _, e in ranges.values()]
    print(f"standard error of a figure: at most {max(errors):.3f}")
    print(f"\nIn {folder}/: losses.png  metrics.json  model.keras (rotary)")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
