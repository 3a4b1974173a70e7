"""A training step under each wrapper, compared with a plain step.

The models are text classifiers for batches of 32 texts of 64 tokens, with 8 192
x 128 embeddings: a transformer with two layers, and a convolutional network
with two layers. The benchmark measures a whole training step, forward, backward
and Adam's update, in the train function that `fit` runs, compiled by XLA
(`jit_compile=True`), with an accuracy metric and dropout as in real training.
The wrappers sum the gradients of repeated tokens, so the plain step does too.
Peers alternate in turns of five steps, of which the first does not count.

    KERAS_BACKEND=tensorflow python -m benchmarks.training_wrappers

The seed is 0. benchmarks/README.md lists results with dates and devices.
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from keras import layers

from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from su_models.optimizers import SummedGradients
from su_models.training import (
    AdversarialTraining,
    Flooding,
    GradientPenalty,
    VirtualAdversarialTraining,
)

SEED = 0
VOCABULARY, LENGTH, BATCH, DIM, CLASSES = 8192, 64, 32, 128, 5
STEPS = 4  # in a round
BACKEND = keras.config.backend()
PLAIN = "plain"
WRAPPERS = {
    PLAIN: lambda model: model,
    "Flooding": lambda model: Flooding(model, level=0.1),
    "FGM": lambda model: AdversarialTraining(model),
    "FGM, with the plain loss": lambda model: AdversarialTraining(
        model, include_clean=True
    ),
    "FGM on look-ups": lambda model: AdversarialTraining(
        model, perturb="outputs"
    ),
    "penalty on look-ups": lambda model: GradientPenalty(model),
    "penalty on tables": lambda model: GradientPenalty(
        model, perturb="weights"
    ),
    "VAT": lambda model: VirtualAdversarialTraining(model),
}


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if BACKEND == "torch":
        raise SystemExit(
            "Steps compiled by XLA need KERAS_BACKEND=tensorflow or jax. "
            f"Received: {BACKEND}"
        )
    result = circumstances("keras", BACKEND, "numpy")
    result["networks"] = {
        name: _network(name, given) for name in given.networks
    }
    if given.json:
        record(given.json, BACKEND, result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS]
    )
    parser.add_argument(
        "--wrappers", nargs="+", choices=WRAPPERS, default=[*WRAPPERS]
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    if given.smoke:
        given.rounds, given.batch = 1, 2
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/training_wrappers.json")
    given.wrappers = [PLAIN, *(w for w in given.wrappers if w != PLAIN)]
    return given


def transformer():
    """Two layers of four heads."""
    ids = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, DIM)(ids)
    x = layers.Dropout(0.1)(x)
    for _ in range(2):
        heads = layers.MultiHeadAttention(4, DIM // 4, dropout=0.1)(x, x)
        x = layers.LayerNormalization()(x + heads)
        hidden = layers.Dense(4 * DIM, activation="gelu")(x)
        hidden = layers.Dropout(0.1)(layers.Dense(DIM)(hidden))
        x = layers.LayerNormalization()(x + hidden)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, layers.Dense(CLASSES, activation="softmax")(x))


def convolutions():
    """Two layers of width 3 with batch normalization."""
    ids = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, DIM)(ids)
    x = layers.Dropout(0.1)(x)
    for _ in range(2):
        x = layers.Conv1D(2 * DIM, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(ids, layers.Dense(CLASSES, activation="softmax")(x))


NETWORKS = {"transformer": transformer, "convolutions": convolutions}


def batch_of(wrapper, size):
    """Returns a batch; for VAT it has equally many unlabeled texts."""
    random = np.random.default_rng(SEED)
    texts = random.integers(VOCABULARY, size=(2, size, LENGTH), dtype="int32")
    labels = random.integers(CLASSES, size=size, dtype="int32")
    return (texts[0], labels, texts[1])[: 3 if wrapper == "VAT" else 2]


class _Steps(keras.callbacks.Callback):
    """Measures the time of all batches but the first."""

    def on_train_batch_end(self, batch, logs=None):
        self.loss = float(logs["loss"])  # waits
        now = time.perf_counter()
        if batch == 0:
            self.begin = now
        self.seconds = now - self.begin


def steps(network, wrapper, size):
    """Returns a function that trains a few steps and returns seconds."""
    keras.utils.set_random_seed(SEED)
    net = WRAPPERS[wrapper](NETWORKS[network]())
    net.compile(
        SummedGradients(keras.optimizers.Adam(1e-4)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=True,
    )
    batches = _Repeat(batch_of(wrapper, size))

    def run():
        clock = _Steps()
        net.fit(batches, verbose=0, callbacks=[clock], shuffle=False)
        if not np.isfinite(clock.loss):
            raise SystemExit(f"'{wrapper}' gives loss={clock.loss}")
        return clock.seconds / STEPS

    return run


class _Repeat(keras.utils.PyDataset):
    """Repeats the same batch."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return STEPS + 1

    def __getitem__(self, i):
        return self.batch


def _network(name, given):
    """Measures one network under all wrappers."""
    peers = {w: steps(name, w, given.batch) for w in given.wrappers}
    for run in peers.values():
        run()  # compiles
    seconds = {w: [] for w in peers}

    def measured(w):
        return lambda: seconds[w].append(peers[w]())

    alternate({w: measured(w) for w in peers}, given.rounds, SEED)
    summary = summarize(seconds, PLAIN)
    show(f"{name}, batch {given.batch}: a step", summary)
    return {"summary": summary, "seconds": seconds}


if __name__ == "__main__":
    main()
