"""ON-LSTM on the Penn Treebank: a language model that induces trees.

Article: https://kexue.fm/archives/6621
    《ON-LSTM：用有序神经元表达层次结构》
Paper: https://arxiv.org/abs/1810.09536

Data: the Penn Treebank's text, with a vocabulary of 10 000 words, without its
first 3911 lines, whose trees are in NLTK's sample. Two ON-LSTM layers learn to
predict the next word; alternating with them, and for the same time, two layers
of Keras' LSTM with equally many parameters (1.56 million, 0.28 of them
recurrent). Then `induce_tree` builds trees from the distances of each layer,
for sentences that neither model was trained on.

python examples/on_lstm_language_model.py
python examples/on_lstm_language_model.py --smoke    (some seconds)
python examples/on_lstm_language_model.py --paper    (its size; 2 days, not run)

The same command resumes a killed run. Measured on 2026-11-21 by the first
command, seed 0 (one run), TensorFlow 2.21 with XLA on a shared 2-core Xeon, 12
minutes of training each, 29 in all, under other load (3 to 12: the run had half
a core; on free cores it processes more text in the same time). Perplexity:

                                     valid    test   epochs
    ON-LSTM                          174.2   164.3    2.42
    LSTM                             179.2   168.9    1.96
    frequencies of words alone                639.8

After equally many words the training losses do not differ; ON-LSTM has read
more words, since its steps took 0.75 of the time of the LSTM's steps.
Unlabeled F1, the mean over sentences, in percent, without punctuation and
without the brackets of one word and of all words:

                         to 40 words (3720)   to 10 words (503)
    ON-LSTM, layer 1            20.9                 35.3
    ON-LSTM, layer 2            31.6                 51.5
    right-branching             39.8                 56.2
    left-branching               7.9                 14.0
    random                      20.0                 32.7
    best binary trees           84.1                 83.5

The second layer is better than random trees, but worse than right-branching
trees, which suit English. The paper's scores, an F1 of 47.7 from the second of
three layers and a perplexity of 56.2 after much longer training, are not
reproduced here.
"""

import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import re
import sys
import time
from itertools import pairwise

import keras
import numpy as np
from matplotlib.figure import Figure

from su_models.backend import has_xla
from su_models.data import load
from su_models.layers import ONLSTM
from su_models.runs.backup import Backup
from su_models.runs.training_log import TrainingLog
from su_models.text import induce_tree
from su_models.utils.files import replacing

FOLDER = pathlib.Path("runs/on-lstm-language-model")
SEED = 0
HELD_OUT = 3_911  # number of first lines of the text, which have trees
UNKNOWN, NUMBER, END = "<unk>", "N", "<eos>"
LONGEST = 40  # largest number of words of a parsed sentence
PUNCTUATION = {"-NONE-", ".", ",", ":", "``", "''", "-LRB-", "-RRB-"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and rates of a run; those of the paper are in `PAPER`."""

    embedding: int = 128  # also the last layer's units: the softmax is tied
    units: int = 128  # units of the other layers
    chunk: int = 8  # number of neurons that share a level
    layers: int = 2
    batch: int = 20
    steps: int = 35  # length of back-propagation through time
    learning_rate: float = 5e-3  # falls to 0 in a straight line
    dropout: float = 0.1  # before, between and after the layers
    dropconnect: float = 0.0
    minutes: float = 12.0  # of training for each of the two models
    sentences: int | None = None  # number of sentences per text; all if None
    turn: int = 50  # number of batches before the models alternate


PAPER = Config(
    embedding=400,
    units=1150,
    chunk=10,
    layers=3,
    steps=70,
    learning_rate=1e-3,
    dropout=0.4,
    dropconnect=0.45,
    minutes=24 * 60.0,
)
SMOKE = Config(
    embedding=16,
    units=16,
    chunk=4,
    batch=8,
    steps=10,
    minutes=0.03,
    sentences=300,
    turn=5,
)


# === Text ===


class Vocabulary:
    """Words and their ids; 0 is padding."""

    def __init__(self, sentences):
        self.words = ["", *dict.fromkeys(w for s in sentences for w in s)]
        self.ids = {word: i for i, word in enumerate(self.words)}

    def __call__(self, words):
        return [self.ids.get(w, self.ids[UNKNOWN]) for w in words]

    def normalize(self, word):
        """Converts a word of the treebank to the form of the text."""
        word = word.lower().replace("\\/", "/")
        if word in self.ids:
            return word
        return NUMBER if re.fullmatch(r"[-\d.,/:]*\d[-\d.,/:]*", word) else word


def text(config):
    """Returns the vocabulary, and the sentences of each part.

    Sentences that are parsed later are not used in training.
    """
    sentences = {k: v["tokens"] for k, v in load("ptb").items()}
    vocabulary = Vocabulary(sentences["train"])
    sentences["train"] = sentences["train"][HELD_OUT:]
    return vocabulary, {
        k: part[: config.sentences] for k, part in sentences.items()
    }


def windows(ids, batch, steps):
    """Splits a text into streams, and the streams into windows.

    Row `i` of a batch continues row `i` of the previous batch. Returns inputs
    and targets, int32 `(n * batch, steps)` each.
    """
    n = (len(ids) - 1) // (batch * steps)
    length = n * steps

    def cut(start):
        streams = np.array(ids[start : start + batch * length], "int32")
        streams = streams.reshape(batch, n, steps)
        return streams.swapaxes(0, 1).reshape(n * batch, steps)

    return cut(0), cut(1)


def unigram(train, test, size):
    """Returns the perplexity of a unigram model."""
    counts = np.bincount(train.ravel(), minlength=size) + 1
    return round(float(np.exp(-np.log(counts / counts.sum())[test].mean())), 2)


# === Models ===


def kernel_initializer():
    """Returns an initializer for gates with a standard deviation of about 3.

    With Keras' default kernels, two gates and two tanhs reduce a signal of 1
    to 0.12 after one layer, and to 0.02 after two; the models then learn only
    the frequencies of words.
    """
    return keras.initializers.VarianceScaling(9.0, "fan_in", "normal")


def widths(config, units):
    """Returns the widths of the layers; the last equals the embedding's."""
    return [units] * (config.layers - 1) + [config.embedding]


def on_lstm_layers(config, **more):
    """Returns the layers whose distances give trees."""
    return [
        ONLSTM(
            n,
            n // config.chunk,
            return_sequences=True,
            recurrent_dropconnect=config.dropconnect,
            seed=SEED + i,
            kernel_initializer=kernel_initializer(),
            **more,
        )
        for i, n in enumerate(widths(config, config.units))
    ]


def lstm_layers(config):
    """Returns LSTM layers with nearly the same number of parameters."""

    def count(units, columns):
        """Counts parameters, given the columns of the kernels per unit."""
        sizes = [config.embedding, *widths(config, units)]
        return sum(columns * n * (m + n + 1) for m, n in pairwise(sizes))

    wanted = count(config.units, 4 + 2 / config.chunk)
    width = min(
        range(1, 2 * config.units), key=lambda n: abs(count(n, 4) - wanted)
    )
    return [
        keras.layers.LSTM(
            n,
            return_sequences=True,
            stateful=True,
            use_cudnn=False,
            kernel_initializer=kernel_initializer(),
        )
        for n in widths(config, width)
    ]


def language_model(layers, config, size):
    """Places recurrent layers between an embedding and its transpose."""
    scale = math.sqrt(config.embedding)
    words = keras.layers.ReversibleEmbedding(
        size,
        config.embedding,
        embeddings_initializer=keras.initializers.RandomNormal(0.0, 1 / scale),
    )
    ids = keras.Input(batch_shape=(config.batch, config.steps), dtype="int32")
    x = keras.layers.Rescaling(scale)(words(ids))
    for i, layer in enumerate(layers):
        x = keras.layers.Dropout(config.dropout, seed=SEED + i)(x)
        x = layer(x)
    x = keras.layers.Dropout(config.dropout, seed=SEED)(x)
    return keras.Model(ids, words(x, reverse=True))


def parser(trained, config, size):
    """Returns a model from sentences to the distances of each layer."""
    words = keras.layers.Embedding(size, config.embedding)
    layers = on_lstm_layers(config, return_distances=True)
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Rescaling(math.sqrt(config.embedding))(words(ids))
    distances = []
    for layer in layers:
        x, d = layer(x)
        distances.append(d)
    model = keras.Model(ids, distances)
    learned = [v for v in trained.layers if v.weights]
    for layer, source in zip([words, *layers], learned, strict=True):
        layer.set_weights(source.get_weights())
    return model


# === Training ===


class Learner:
    """A model in training, with its own time limit.

    Each turn is an epoch in Keras, and is backed up: a killed run resumes, but
    its recurrent states are reset.
    """

    def __init__(self, name, model, config, path):
        self.name, self.model, self.config = name, model, config
        self.recurrent = [
            layer for layer in model.layers if getattr(layer, "stateful", False)
        ]
        self.log = TrainingLog(path / f"{name}.csv")
        self.backup = Backup(
            path / f"{name}.bin", dataclasses.asdict(config), self.log
        )
        model.compile(
            keras.optimizers.Adam(0.0, global_clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=has_xla(),
        )
        nothing = np.zeros((config.batch, config.steps), "int32")
        model.fit(nothing, nothing, batch_size=config.batch, verbose=0)
        self.turns = self.backup.restore(model)

    @property
    def left(self):
        """Returns the remaining share of the time."""
        return 1 - self.log.seconds / (60 * self.config.minutes)

    def turn(self, x, y):
        """Trains on the next windows; returns the mean loss."""
        rows = self.config.batch * self.config.turn
        place = self.turns % -(-len(x) // rows)
        if place == 0:
            self.forget()
        part = slice(place * rows, (place + 1) * rows)
        self.model.optimizer.learning_rate = (
            self.config.learning_rate * self.left
        )
        fit = self.model.fit(
            x[part],
            y[part],
            batch_size=self.config.batch,
            initial_epoch=self.turns,
            epochs=self.turns + 1,
            shuffle=False,
            verbose=0,
            callbacks=[self.log, self.backup],
        )
        self.turns += 1
        (loss,) = fit.history["loss"]
        if not math.isfinite(loss):
            raise FloatingPointError(f"{self.name}: the loss is {loss}")
        return loss

    def forget(self):
        """Resets the recurrent states."""
        for layer in self.recurrent:
            layer.reset_state()

    def perplexity(self, x, y):
        """Returns the perplexity of a text, read from the start."""
        self.forget()
        batch = self.config.batch
        loss = self.model.evaluate(x, y, batch_size=batch, verbose=0)
        return round(math.exp(loss), 2)

    def curve(self):
        """Returns the loss of each turn."""
        return [row["loss"] for row in self.log.rows]

    def epochs(self, x):
        """Returns how often a text has been read."""
        rows = self.config.batch * self.config.turn
        full, more = divmod(self.turns, -(-len(x) // rows))
        return full + more * rows / len(x)

    def figures(self, data):
        """Returns the measurements."""
        return {
            "parameters": self.model.count_params(),
            "recurrent_parameters": sum(
                layer.count_params() for layer in self.recurrent
            ),
            "seconds": round(self.log.seconds, 1),
            "epochs": round(self.epochs(data["train"][0]), 2),
            "valid_perplexity": self.perplexity(*data["valid"]),
            "test_perplexity": self.perplexity(*data["test"]),
        }


def train(learners, x, y):
    """Trains the models in turns, so that other load slows both equally."""
    while any(learner.left > 0 for learner in learners):
        said = []
        for learner in learners:
            if learner.left > 0:
                perplexity = math.exp(learner.turn(x, y))
                seconds = learner.log.seconds
                said.append(
                    f"{learner.name} {seconds:5.0f} s {perplexity:6.1f}"
                )
        print("perplexity of a turn:", "   ".join(said), flush=True)


# === Trees ===


def bare(tree):
    """Converts a tree of the treebank to the form of `induce_tree`.

    The result is nested lists of words without labels, punctuation and traces.
    """
    label, *parts = tree
    if isinstance(parts[0], str):
        return [] if label in PUNCTUATION else parts[0]
    return [part for part in map(bare, parts) if part != []]


def spans(tree):
    """Returns the words of a tree and its brackets.

    Brackets are pairs of begin and end. Those of one word and of all words are
    omitted, since every tree has them.
    """
    words, brackets = [], set()

    def visit(node):
        if not isinstance(node, list):
            words.append(node)
            return
        begin = len(words)
        for part in node:
            visit(part)
        brackets.add((begin, len(words)))

    visit(tree)
    return words, {(a, b) for a, b in brackets if 1 < b - a < len(words)}


def f1(found, wanted):
    """Returns 2 |found ∩ wanted| / (|found| + |wanted|) of two sets."""
    return 2 * len(found & wanted) / max(len(found) + len(wanted), 1)


def distances_of(model, vocabulary, sentences, batch=64):
    """Returns, for each layer, the distances of each sentence's words.

    A sentence is read from zero states, after an end-of-sentence token.
    """
    n = max(map(len, sentences)) + 1
    ids = np.zeros((len(sentences), n), "int32")
    for row, words in zip(ids, sentences, strict=True):
        row[: len(words) + 1] = vocabulary([END, *words])
    layers = model.predict(ids, batch_size=batch, verbose=0)
    return [
        [d[1 : len(s) + 1] for d, s in zip(layer, sentences, strict=True)]
        for layer in layers
    ]


def score(distances, sentences, wanted):
    """Returns the mean over sentences of the F1 of their induced trees."""
    return np.mean(
        [
            f1(spans(induce_tree(d, words))[1], brackets)
            for d, words, brackets in zip(
                distances, sentences, wanted, strict=True
            )
        ]
    )


def scores(layers, sentences, wanted):
    """Returns the F1 of each layer, of the baselines, and the upper bound."""
    lengths = [len(s) for s in sentences]
    random = np.random.default_rng(SEED)
    kinds = {f"layer {i}": layer for i, layer in enumerate(layers, start=1)}
    kinds["right-branching"] = [-np.arange(n) for n in lengths]
    kinds["left-branching"] = [np.arange(n) for n in lengths]
    kinds["random"] = [random.random(n) for n in lengths]
    result = {
        kind: score(distances, sentences, wanted)
        for kind, distances in kinds.items()
    }
    # even with every bracket correct, a binary tree has n - 2 of them
    pairs = zip(lengths, wanted, strict=True)
    bound = [2 * len(b) / (n - 2 + len(b)) for n, b in pairs]
    result["best binary trees"] = np.mean(bound)
    return {kind: round(100 * float(f), 1) for kind, f in result.items()}


def f1_of(model, vocabulary, most):
    """Returns the scores on all and on the short sentences."""
    trees = load("treebank_sample")["all"]["trees"][:most]
    pairs = [spans(bare(tree)) for tree in trees]
    pairs = [(w, b) for w, b in pairs if 3 <= len(w) <= LONGEST]
    sentences = [[vocabulary.normalize(w) for w in words] for words, _ in pairs]
    layers = distances_of(model, vocabulary, sentences)
    result = {}
    for longest in (LONGEST, 10):
        some = [i for i, s in enumerate(sentences) if len(s) <= longest]
        result[f"F1, at most {longest} words"] = {
            "sentences": len(some),
            **scores(
                [[layer[i] for i in some] for layer in layers],
                [sentences[i] for i in some],
                [pairs[i][1] for i in some],
            ),
        }
    return result


# === Pictures ===


def draw_tree(axes, tree, distances):
    """Draws a tree above its words, and their distances as bars below."""
    words = []

    def visit(node):
        """Draws a node; returns the position of its stem."""
        if not isinstance(node, list):
            words.append(node)
            return len(words) - 1, 0
        ends = [visit(part) for part in node]
        x = sum(x for x, _ in ends) / len(ends)
        y = 1 + max(y for _, y in ends)
        for end_x, end_y in ends:
            axes.plot([end_x, end_x, x], [end_y, y, y], "k-", lw=1)
        return x, y

    _, height = visit(tree)
    scale = 0.25 * height / max(distances.max(), 1e-9)
    bottom = -0.42 * height
    axes.bar(range(len(words)), scale * distances, 0.5, bottom=bottom)
    for x, word in enumerate(words):
        axes.text(x, -0.02 * height, word, ha="center", va="top", fontsize=9)
    axes.set(xlim=(-0.7, len(words) - 0.3), ylim=(bottom, height * 1.05))
    axes.axis("off")


def draw_trees(path, sentences, distances):
    """Draws the trees of some sentences, one below the other."""
    n = len(sentences)
    figure = Figure(figsize=(10, 2.6 * n))
    axes = figure.subplots(n, squeeze=False)[:, 0]
    for axis, words, d in zip(axes, sentences, distances, strict=True):
        draw_tree(axis, induce_tree(d, words), d)
    save(figure, path)


def draw_training(path, learners, x):
    """Plots the training perplexity over epochs."""
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    for learner in learners:
        loss = learner.curve()
        read = np.linspace(0, learner.epochs(x), len(loss) + 1)[1:]
        axes.plot(read, np.exp(loss), label=learner.name)
    axes.set(xlabel="epochs", ylabel="perplexity in training", yscale="log")
    axes.legend()
    save(figure, path)


def save(figure, path):
    """Writes a picture atomically."""
    with replacing(path) as new:
        figure.savefig(new, dpi=120, bbox_inches="tight", format="png")


# === All of it ===


def main(words=None):
    """Trains both models, evaluates, parses and plots."""
    config, folder = arguments(words)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    start = time.perf_counter()
    vocabulary, parts = text(config)
    size = len(vocabulary.words)
    data = {
        name: windows(
            vocabulary([w for s in part for w in s]), config.batch, config.steps
        )
        for name, part in parts.items()
    }
    learners = [
        Learner(name, language_model(layers, config, size), config, folder)
        for name, layers in (
            ("ON-LSTM", on_lstm_layers(config, stateful=True)),
            ("LSTM", lstm_layers(config)),
        )
    ]
    train(learners, *data["train"])
    draw_training(folder / "training.png", learners, data["train"][0])
    metrics = {learner.name: learner.figures(data) for learner in learners}
    metrics["unigram_test_perplexity"] = unigram(
        data["train"][1], data["test"][1], size
    )

    model = parser(learners[0].model, config, size)
    metrics |= f1_of(model, vocabulary, config.sentences)
    metrics |= {
        "seconds": round(time.perf_counter() - start),
        "seed": SEED,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }
    for name, value in (
        ("metrics", metrics),
        ("config", dataclasses.asdict(config)),
    ):
        with replacing(folder / f"{name}.json") as new:
            new.write_text(json.dumps(value, indent=2) + "\n", "utf-8")

    chosen = [s[:-1] for s in parts["test"] if 7 <= len(s) <= 13]
    chosen = [s for s in chosen if UNKNOWN not in s][:5]
    second = distances_of(model, vocabulary, chosen)[1]
    draw_trees(folder / "trees.png", chosen, second)
    with replacing(folder / "model.keras") as new:
        model.save(new)
    for learner in learners:  # the next run starts from scratch
        learner.backup.path.unlink()
    report(metrics, folder)


def arguments(words):
    """Reads the command line into a config and a folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--smoke", action="store_true", help="some seconds")
    which.add_argument(
        "--paper", action="store_true", help="the paper's size, for two days"
    )
    given = parser.parse_args(words)
    if given.smoke:
        return SMOKE, FOLDER.with_name(f"smoke-{FOLDER.name}")
    if given.paper:
        return PAPER, FOLDER.with_name(f"{FOLDER.name}-paper")
    return Config(), FOLDER


def report(metrics, folder):
    """Prints the measurements."""
    print(f"\n{'perplexity':10}{'valid':>10}{'test':>10}{'epochs':>10}")
    for name in ("ON-LSTM", "LSTM"):
        keys = "valid_perplexity", "test_perplexity", "epochs"
        print(f"{name:10}", *(f"{metrics[name][k]:9.2f}" for k in keys))
    heads = [head for head in metrics if head.startswith("F1")]
    print(f"\nunlabeled {'; '.join(heads)}")
    for name in metrics[heads[0]]:
        row = "".join(f"{metrics[head][name]:8}" for head in heads)
        print(f"{name:20}{row}")
    print(f"\nIn {folder}/: trees.png  training.png  metrics.json  model.keras")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command resumes the run.")
