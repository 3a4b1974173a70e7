"""RoFormerV2 from scratch, as a masked language model of Chinese text.

Article: https://kexue.fm/archives/8998
    《RoFormerV2：自然语言理解的极限探索》

Data: up to 2 million characters each of Tang poems, of Song ci, of titles of
news, of reviews (the training texts of bert4keras' sentiment data set) and of
passages of the Chinese Wikipedia (CMRC 2018 and DRCD), without repetitions. The
poems and DRCD are in traditional characters, many of which the vocabulary of
RoFormerV2 lacks, so `opencc` simplifies them first. 3 % of the texts of each
source are for validation, 3 % for the test.

First, two short trainings have the same steps, batches and initial weights. In
"alpha", each residual branch is multiplied by α before the normalization,

    Norm(x + α F(x)),   α rises linearly from 0 to 1,

by which the author made models with normalizations behind the sums converge;
"plain" is the same model with α = 1. The one with the lower validation loss is
trained for longer, from the beginning. Its encoder is saved as a checkpoint of
TensorFlow 1, which bert4keras reads as well, for `sentiment_roformer_v2.py`.

In training 20 % of the characters are chosen; as in BERT, a tenth each of them
stays and becomes another character, the others become [MASK]. (Trials with
[MASK] only predicted frequencies, and nothing else, after 300 steps.) In all
figures below 15 % are chosen, and all become [MASK]. They are compared with the
most frequent character, and with a character's counted probabilities beside its
neighbors.

pip install "su_models[opencc]"
python examples/roformer_v2_mlm.py
python examples/roformer_v2_mlm.py --smoke    (some seconds)

It needs the vocabulary at $SU_MODELS_DATA/vocab/roformer_v2_char.txt, or
`--vocabulary`. The same command resumes a killed run. The seed is 0.

Measured on 2026-11-30 by the first command, TensorFlow 2.21 with XLA on two
cores of a shared AMD EPYC, under other load (5 to 8) most of the time, and
resumed three times: 56 minutes of training in total. "alpha" had the lower
validation loss after 800 steps (6.07 and 6.13). Accuracy in % on the masked
characters of test texts, and the mean loss:

                      Tang  Song ci   news  reviews  passages   mean   loss
    most frequent      7.4      6.4    0.0      5.1       4.1    4.6  7.018
    left neighbor     11.0      9.9    5.5     14.7       9.1   10.0  5.925
    both neighbors    15.4     15.0   15.0     27.8      15.9   17.8  4.897
    alpha, 800 steps  17.0     12.8    4.7     14.7       9.0   11.6  6.127
    plain, 800 steps  17.0     12.1    3.9     13.9       8.4   11.1  6.184
    alpha, 6 000      23.3     23.9   16.6     33.6      21.0   23.7  4.781

It passes the counting models after 2 000 steps (accuracy) and 4 400 (loss), and
still improves when the rate reaches 0. With 2.3 million weights and 12 million
characters read it knows set phrases and the form of verse (a comma after five
or seven characters), but hardly any names or numbers. Characters without a
token, in % of all (of different ones): Tang poems 27.5 (51.3), simplified 0.8
(28.0); passages in traditional characters 27.5 (36.3), simplified 0.2 (1.6).
"""

import argparse
import collections
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import sys
import time

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure
from scipy.sparse import csr_matrix

from su_models.backend import has_xla
from su_models.backend.untuned import untuned
from su_models.checkpoints import save_checkpoint
from su_models.data import load
from su_models.models import build_transformer_model
from su_models.models.transformer.roformer_v2 import RoFormerV2
from su_models.optimizers import PiecewiseLinear
from su_models.runs.backup import Backup
from su_models.runs.minibatches import Minibatches
from su_models.runs.progress import TrainingBar
from su_models.runs.training_log import TrainingLog
from su_models.text import Tokenizer
from su_models.text.simplifier import simplifier
from su_models.utils.files import replacing

FOLDER = pathlib.Path("runs/roformer-v2-mlm")
CHECKPOINT = "encoder.ckpt"
SEED = 0
HELD_OUT = 0.03  # share of the texts of a source, for validation and for test
STRENGTHS = (10.0, 100.0, 1000.0, 10_000.0)  # of the counting models' smoothing
DATA = "SU_MODELS_DATA"


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and rates of both models."""

    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    length: int = 64  # number of tokens of a row
    masked: int = 12  # number of characters of a row to predict in training
    judged: int = 9  # the same, in validation and test
    batch: int = 32
    trial: int = 800  # number of steps of the short trainings
    steps: int = 6000
    turn: int = 100  # number of steps between two validations
    learning_rate: float = 3e-3  # falls to 0 in a straight line
    ramp: float = 0.25  # share of the steps in which α rises
    characters: int = 2_000_000  # largest number of characters of a source
    rows: int = 256  # number of rows for validation
    most: int = 150  # largest number of test rows of a source


SMOKE = Config(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    length=32,
    masked=8,
    judged=4,
    batch=4,
    trial=2,
    steps=4,
    turn=2,
    characters=4_000,
    rows=4,
    most=4,
)
VARIANTS = {"alpha": True, "plain": False}  # whether α rises


# === Text ===


def documents():
    """Returns the texts of each source, a dict of lists.

    The sources whose name ends in "traditional" have to be simplified.
    """
    poems, news = load("chinese_poetry")["all"], load("thucnews10")
    cmrc = load("cmrc2018")

    def collection(name):
        pairs = zip(poems["text"], poems["collection"], strict=True)
        return [text for text, origin in pairs if origin == name]

    return {
        "Tang poems, traditional": collection("tang"),
        "Song ci": collection("song_ci"),
        "news": news["valid"]["text"] + news["test"]["text"],
        "reviews": load("bert4keras_sentiment")["train"]["text"],
        "passages": cmrc["valid"]["context"] + cmrc["trial"]["context"],
        "passages, traditional": load("drcd")["valid"]["context"],
    }


def selected(texts, most, random):
    """Returns different texts in a random order, `most` characters at most."""
    texts = [*dict.fromkeys(" ".join(text.split()) for text in texts)]
    chosen, total = [], 0
    for i in random.permutation(len(texts)):
        total += len(texts[i])
        if total > most:
            break
        chosen.append(texts[i])
    return chosen


def unknown(texts, vocabulary):
    """Returns the shares of texts that are characters without a token.

    The first is that of occurrences, the second that of different characters.
    """
    counts = collections.Counter(c.lower() for text in texts for c in text)
    counts.pop(" ", None)
    lacking = [c for c in counts if c not in vocabulary]
    return (
        sum(counts[c] for c in lacking) / counts.total(),
        len(lacking) / len(counts),
    )


def corpus(config, vocabulary):
    """Returns the texts of all splits, and what simplifying them changed.

    The texts are a dict of the splits "train", "valid" and "test", each a dict
    from sources to lists of texts.
    """
    random, simplify = np.random.default_rng(SEED), simplifier()
    found, shares = collections.defaultdict(list), {}
    for source, texts in documents().items():
        name, _, traditional = source.partition(", ")
        texts = selected(texts, config.characters, random)
        if traditional:
            before = unknown(texts, vocabulary)
            texts = simplify(texts)
            shares[name] = {
                "as they are": before,
                "simplified": unknown(texts, vocabulary),
            }
        found[name] += texts
    splits = {"train": {}, "valid": {}, "test": {}}
    for name, texts in found.items():
        texts = [*dict.fromkeys(texts)]
        texts = [texts[i] for i in random.permutation(len(texts))]
        n = max(round(HELD_OUT * len(texts)), 1)
        splits["valid"][name] = texts[:n]
        splits["test"][name] = texts[n : 2 * n]
        splits["train"][name] = texts[2 * n :]
    return splits, shares


def specials(tokenizer):
    """Returns the ids that are never predicted."""
    names = ("pad", "unk", "start", "end", "mask")
    return [getattr(tokenizer, f"token_{name}_id") for name in names]


def pack(texts, tokenizer, config):
    """Returns texts as rows of equal length, int32 `(n, length)`.

    The texts stand one behind the other, with [SEP] between them; each row
    begins with [CLS]. Rows with too few characters to mask are left out.
    """
    stream = [i for text in texts for i in tokenizer.encode(text)[0][1:]]
    width = config.length - 1
    n = len(stream) // width
    rows = np.full((n, config.length), tokenizer.token_start_id, "int32")
    rows[:, 1:] = np.reshape(stream[: n * width], (n, width))
    count = (~np.isin(rows, specials(tokenizer))).sum(axis=1)
    return rows[count >= config.masked]


class Masking:
    """Chooses the characters of rows to predict, and hides them.

    Args:
        tokenizer: the `Tokenizer`.
        number: int. Number of characters of a row.
        others: optional int array of the ids that replace characters. As in
            BERT, of ten chosen characters eight become [MASK], one becomes
            another and one stays. If None, all become [MASK].
    """

    def __init__(self, tokenizer, number, others=None):
        self.specials = specials(tokenizer)
        self.mask_id = tokenizer.token_mask_id
        self.number, self.others = number, others

    def __call__(self, rows, random):
        """Returns `((ids, positions), targets)`."""
        score = random.random(rows.shape)  # (b, n)
        score[np.isin(rows, self.specials)] = 2
        positions = np.argpartition(score, self.number)[:, : self.number]
        positions = np.sort(positions).astype("int32")  # (b, k)
        targets = np.take_along_axis(rows, positions, axis=1)
        hidden = np.full_like(targets, self.mask_id)
        if self.others is not None:
            kind = random.random(targets.shape)
            others = random.choice(self.others, targets.shape)
            hidden = np.where(kind < 0.8, hidden, others)
            hidden = np.where(kind < 0.9, hidden, targets)
        ids = rows.copy()
        np.put_along_axis(ids, positions, hidden, axis=1)
        return (ids, positions), targets


class Batches(Minibatches):
    """Shuffled batches whose masks depend on seed, epoch and step only."""

    def __init__(self, rows, masking, config):
        self.masking = masking
        super().__init__(rows, config.batch, config.turn, SEED)

    def begin(self, epoch):
        super().begin(epoch)
        self.epoch = epoch

    def __getitem__(self, index):
        (rows,) = super().__getitem__(index)
        random = np.random.default_rng([self.seed, self.epoch, index])
        return self.masking(rows, random)


# === Counting models ===


class Neighbors:
    """Predicts a character from the characters beside it, by counting.

        P(c | l, r) ∝ P(c | l) P(r | c),   P(b | a) = (n(ab) + s p(b)) / ...

    p are the frequencies of single characters, n(ab) those of pairs. A factor
    whose neighbor is unknown is p(c) or 1.

    Args:
        rows: int array `(n, length)`, the text to count in.
        size: int. Number of ids.
        specials: ids that are never predicted.
        strength: float > 0. s.
    """

    def __init__(self, rows, size, specials, strength):
        counts = np.bincount(rows.ravel(), minlength=size) + 1
        self.allowed = ~np.isin(np.arange(size), specials)
        self.p = counts / counts.sum()
        pairs = rows[:, :-1].ravel(), rows[:, 1:].ravel()
        ones = np.ones(len(pairs[0]))
        self.pairs = csr_matrix((ones, pairs), shape=(size, size))
        self.reverse = self.pairs.T.tocsr()
        self.first = np.asarray(self.pairs.sum(axis=1)).ravel()
        self.strength = strength

    def log_probabilities(self, left, right):
        """Returns `(m, ids)` for neighbors `(m,)`; -1 if unknown."""
        s = self.strength
        before = self.pairs[np.maximum(left, 0)].toarray() + s * self.p
        before = np.where(left[:, None] >= 0, before, self.p)
        after = self.reverse[np.maximum(right, 0)].toarray()
        after = (after + s * self.p[right][:, None]) / (self.first + s)
        after = np.where(right[:, None] >= 0, after, 1.0)
        p = before * after * self.allowed
        with np.errstate(divide="ignore"):
            return np.log(p / p.sum(axis=1, keepdims=True))


def contexts(inputs, mask_id):
    """Returns the neighbors of the positions, -1 where they are masked."""
    ids, positions = inputs
    padded = np.pad(ids, [[0, 0], [1, 1]], constant_values=mask_id)
    both = []
    for shift in (0, 2):
        side = np.take_along_axis(padded, positions + shift, axis=1).ravel()
        both.append(np.where(side == mask_id, -1, side))
    return both


def judge_counts(model, left, right, targets):
    """Returns accuracy and loss of a counting model."""
    hits, losses = [], []
    for i in range(0, len(targets), 256):
        part = slice(i, i + 256)
        found = model.log_probabilities(left[part], right[part])
        hits.append(found.argmax(axis=1) == targets[part])
        losses.append(-found[np.arange(len(found)), targets[part]])
    return {
        "accuracy": float(np.concatenate(hits).mean()),
        "loss": float(np.concatenate(losses).mean()),
    }


def baselines(rows, valid, tests, tokenizer):
    """Returns the counting models' figures for each source, and the best s."""

    def judge(model, batch, sides):
        left, right = contexts(batch[0], tokenizer.token_mask_id)
        targets, nothing = batch[1].ravel(), np.full_like(left, -1)
        return judge_counts(
            model,
            left if "left" in sides else nothing,
            right if "right" in sides else nothing,
            targets,
        )

    size, never = tokenizer.vocab_size, specials(tokenizer)
    models = [Neighbors(rows, size, never, s) for s in STRENGTHS]
    losses = [judge(model, valid, "left right")["loss"] for model in models]
    best = models[int(np.argmin(losses))]
    kinds = {
        "most frequent": "",
        "left neighbor": "left",
        "both neighbors": "left right",
    }
    figures = {
        kind: {name: judge(best, batch, sides) for name, batch in tests.items()}
        for kind, sides in kinds.items()
    }
    return figures, best


# === Models ===


class Ramp(keras.layers.Layer):
    """Multiplies by α, which rises from 0 to 1 in the first training calls.

    Args:
        steps: int. Number of calls in training until α is 1.
    """

    def __init__(self, steps, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps
        self.supports_masking = True

    def build(self, input_shape):
        self.calls = self.add_weight(
            name="calls", initializer="zeros", trainable=False, autocast=False
        )
        self.built = True

    def call(self, inputs, training=None):
        alpha = ops.minimum(self.calls / self.steps, 1.0)
        if training:
            self.calls.assign(self.calls + 1.0)
        return inputs * ops.cast(alpha, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


class TakePositions(keras.layers.Layer):
    """Returns the vectors at given positions of each sequence.

    Only there the logits of the vocabulary are computed.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, positions):
        # a product, which XLA differentiates faster than a look-up
        places = ops.one_hot(positions, ops.shape(x)[1], dtype=x.dtype)
        return ops.matmul(places, x)  # (b, k, n) (b, n, d)

    def compute_mask(self, x, previous_mask=None):
        return None

    def compute_output_shape(self, x_shape, positions_shape):
        return (*positions_shape, x_shape[-1])


class PretrainedRoFormerV2(RoFormerV2):
    """RoFormerV2 with logits at given positions, and with α.

    Args:
        ramp: int. Number of steps in which α rises; 0: α is always 1.
        **kwargs: arguments of `RoFormerV2`.
    """

    def __init__(self, ramp=0, **kwargs):
        super().__init__(**kwargs)
        self.ramp = ramp

    def get_inputs(self):
        return [*super().get_inputs(), self.input("Input-Position")]

    def sublayer(self, x, name, layer, **arguments):
        if not self.ramp:
            return super().sublayer(x, name, layer, **arguments)
        y = self.dropout(layer(x, name, **arguments), f"{name}-Dropout")
        y = self.apply(y, Ramp, steps=self.ramp, name=f"{name}-Ramp")
        return self.norm(self.add(x, y, f"{name}-Add"), f"{name}-Norm")

    def masked_language_model(self, x):
        positions = {"positions": self.inputs[-1]}
        x = self.apply(x, TakePositions, positions, name="Output-Take")
        return super().masked_language_model(x)


def sizes(config, vocab_size):
    """Returns the configuration of the encoder, as bert4keras has it."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": 4 * config.hidden_size,
        "hidden_act": "relu",
        "segment_vocab_size": 0,
    }


def pretrained(config, vocab_size, rises):
    """Returns a compiled model from `(ids, positions)` to logits."""
    keras.utils.set_random_seed(SEED)
    model = build_transformer_model(
        model=PretrainedRoFormerV2,
        with_mlm="linear",
        ramp=round(config.ramp * config.steps) if rises else 0,
        **sizes(config, vocab_size),
    )
    rate = PiecewiseLinear({0: 1, config.steps: 0}, config.learning_rate)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=has_xla(),
    )
    return model


def train(name, model, batches, valid, config, folder):
    """Trains a model, or resumes its training; returns its history."""
    log = TrainingLog(folder / f"{name}.csv")
    settings = dataclasses.asdict(config) | {"name": name}
    backup = Backup(folder / f"{name}.bin", settings, log)
    begun = backup.restore(model)
    print(f"{name}: {begun * config.turn} of {config.steps} steps", flush=True)
    bar = TrainingBar(config.steps, begun * config.turn)
    with bar:
        model.fit(
            untuned(batches),
            initial_epoch=begun,
            epochs=config.steps // config.turn,
            validation_data=valid,
            validation_batch_size=config.batch,
            shuffle=False,
            callbacks=[
                batches.follow,
                keras.callbacks.TerminateOnNaN(),
                log,
                bar,
                backup,
            ],
            verbose=0,
        )
    if not log.is_finite:
        raise FloatingPointError(f"{name}: the loss is not finite")
    return log.rows


# === Results ===


def save_encoder(trained, path, config, vocab_size):
    """Writes the encoder of a trained model as a checkpoint.

    α is 1 at the end, so it is a plain RoFormerV2.
    """
    encoder = build_transformer_model(
        model="roformer_v2", **sizes(config, vocab_size)
    )
    for layer in encoder.layers:
        layer.set_weights(trained.get_layer(layer.name).get_weights())
    save_checkpoint(encoder, path, "roformer_v2")
    return encoder


def fill(model, counts, tests, tokenizer):
    """Returns rows of texts with masks, the truth, and what models fill in.

    Args:
        model: the masked language model, from ids to logits.
        counts: the counting model.
        tests: dict from sources to lists of texts.
        tokenizer: the `Tokenizer`.
    """
    table = []
    for source, texts in tests.items():
        short = [text for text in texts if 16 <= len(text) <= 48][:4]
        for text in short or [text[:32] for text in texts[:4]]:
            ids = np.array([tokenizer.encode(text)[0]], "int32")
            positions = np.arange(3, ids.shape[1] - 1, 5)[None]
            targets = np.take_along_axis(ids, positions, axis=1)[0]
            np.put_along_axis(ids, positions, tokenizer.token_mask_id, axis=1)
            logits = ops.convert_to_numpy(model(ids))[0, positions[0]]
            sides = contexts((ids, positions), tokenizer.token_mask_id)
            counted = counts.log_probabilities(*sides).argmax(axis=1)
            shown = tokenizer.ids_to_tokens(ids[0, 1:-1])
            table.append(
                [
                    source,
                    "".join("＿" if t == "[MASK]" else t for t in shown),
                    *(
                        " ".join(tokenizer.ids_to_tokens(found))
                        for found in (targets, logits.argmax(axis=1), counted)
                    ),
                ]
            )
    return table


def write_table(table, path):
    """Writes the filled masks as a table in Markdown."""
    heads = ["source", "text", "masked", "RoFormerV2", "both neighbors"]
    rows = [heads, ["--"] * len(heads), *table]
    lines = [
        f"| {' | '.join(c.replace('|', '') for c in row)} |" for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def draw(histories, counted, config, path):
    """Plots loss and accuracy over the steps, and the counting models."""
    figure = Figure(figsize=(11, 4), layout="tight")
    left, right = figure.subplots(1, 2)
    for i, (name, rows) in enumerate(histories.items()):
        steps = [config.turn * (row["epoch"] + 1) for row in rows]
        line = {"color": f"C{i}", "label": name}
        left.plot(steps, [row["loss"] for row in rows], ":", color=f"C{i}")
        left.plot(steps, [row["val_loss"] for row in rows], **line)
        right.plot(steps, [100 * row["val_accuracy"] for row in rows], **line)
    for i, (name, figures) in enumerate(counted.items(), start=4):
        line = {"color": f"C{i}", "ls": "--", "label": name}
        left.axhline(mean(figures, "loss"), **line)
        right.axhline(100 * mean(figures, "accuracy"), **line)
    left.set(xlabel="step", ylabel="loss (dotted: in training)")
    right.set(xlabel="step", ylabel="accuracy on masked characters, %")
    for axis in (left, right):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    with replacing(path) as new:
        figure.savefig(new, dpi=120, format="png")


def mean(figures, key):
    """Returns the mean over the sources."""
    return float(np.mean([values[key] for values in figures.values()]))


def report(metrics):
    """Prints the accuracies on the test texts."""
    names = [*next(iter(metrics["test"].values()))]
    print(
        f"\n{'test accuracy, %':18}{''.join(f'{n:>11}' for n in names)}", end=""
    )
    print(f"{'mean':>11}{'loss':>8}")
    for model, figures in metrics["test"].items():
        cells = [figures[name]["accuracy"] for name in names]
        cells.append(mean(figures, "accuracy"))
        row = "".join(f"{100 * cell:11.1f}" for cell in cells)
        print(f"{model:18}{row}{mean(figures, 'loss'):8.3f}")
    print("\ncharacters without a token, % (of different ones)")
    for name, shares in metrics["unknown"].items():
        words = [
            f"{kind} {100 * a:.2f} ({100 * b:.1f})"
            for kind, (a, b) in shares.items()
        ]
        print(f"{name:18}{'   '.join(words)}")


def main(words=None):
    """Trains the models, compares them, and saves the encoder."""
    config, folder, vocabulary = arguments(words)
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(vocabulary, do_lower_case=True)
    size = tokenizer.vocab_size
    splits, shares = corpus(config, tokenizer.token_dict)
    rows = {
        split: {n: pack(t, tokenizer, config) for n, t in sources.items()}
        for split, sources in splits.items()
    }
    every = np.concatenate([*rows["train"].values()])
    print(f"{every.size} tokens in {len(every)} rows", flush=True)
    others = every[~np.isin(every, specials(tokenizer))]
    masking = Masking(tokenizer, config.masked, others)
    hide = Masking(tokenizer, config.judged)
    random = np.random.default_rng(SEED)
    valid = np.concatenate([*rows["valid"].values()])
    valid = valid[random.permutation(len(valid))[: config.rows]]
    valid = hide(valid, random)
    tests = {
        name: hide(part[: config.most], random)
        for name, part in rows["test"].items()
    }
    counted, counts = baselines(every, valid, tests, tokenizer)

    histories, figures = {}, {}

    def run(kind, steps):
        """Trains a model; returns it and its validation loss."""
        name, part = f"{kind}-{steps}", dataclasses.replace(config, steps=steps)
        model = pretrained(part, size, VARIANTS[kind])
        batches = Batches(every, masking, config)
        histories[name] = train(name, model, batches, valid, part, folder)
        figures[name] = {
            source: evaluate(model, batch, config)
            for source, batch in tests.items()
        }
        return model, histories[name][-1]["val_loss"]

    losses = {kind: run(kind, config.trial)[1] for kind in VARIANTS}
    best = min(losses, key=losses.get)
    trained, _ = run(best, config.steps)

    save_encoder(trained, folder / CHECKPOINT, config, size)
    if pathlib.Path(vocabulary).resolve() != (folder / "vocab.txt").resolve():
        shutil.copyfile(vocabulary, folder / "vocab.txt")
    write_json(folder / "bert_config.json", sizes(config, size))
    # as a reader of the checkpoint builds it
    model = build_transformer_model(
        folder / "bert_config.json",
        folder / CHECKPOINT,
        model="roformer_v2",
        with_mlm="linear",
    )
    table = fill(model, counts, splits["test"], tokenizer)
    write_table(table, folder / "filled.md")
    draw(histories, counted, config, folder / "training.png")
    metrics = {
        "test": counted | figures,
        "valid_loss": {n: h[-1]["val_loss"] for n, h in histories.items()},
        "saved": best,
        "unknown": shares,
        "strength": counts.strength,
        "parameters": model.count_params(),
        "rows": {
            split: {name: len(part) for name, part in sources.items()}
            for split, sources in rows.items()
        },
        "training_seconds": {
            n: round(h[-1]["seconds"], 1) for n, h in histories.items()
        },
        "seconds": round(time.perf_counter() - start),
        "seed": SEED,
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "config.json", dataclasses.asdict(config))
    for name in histories:  # the next run starts from scratch
        (folder / f"{name}.bin").unlink()
    report(metrics)
    print(
        f"\nIn {folder}/: training.png  filled.md  metrics.json  "
        f"{CHECKPOINT}  bert_config.json  vocab.txt"
    )


def evaluate(model, batch, config):
    """Returns accuracy and loss on a batch of any size."""
    found = model.evaluate(
        *batch, batch_size=config.batch, verbose=0, return_dict=True
    )
    return {key: float(found[key]) for key in ("accuracy", "loss")}


def write_json(path, content):
    """Writes JSON atomically."""
    with replacing(path) as new:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        new.write_text(text + "\n", "utf-8")


def arguments(words):
    """Reads the command line into a config, a folder and a vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=pathlib.Path)
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    given = parser.parse_args(words)
    path = given.vocabulary or pathlib.Path(
        os.environ.get(DATA, ""), "vocab", "roformer_v2_char.txt"
    )
    if not path.exists():
        raise FileNotFoundError(
            f"The data set lacks the vocabulary: set {DATA} to a folder with "
            "vocab/roformer_v2_char.txt, or pass --vocabulary. "
            f"Received: {path}"
        )
    if given.smoke:
        return SMOKE, FOLDER.with_name(f"smoke-{FOLDER.name}"), path
    return Config(), FOLDER, path


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command resumes the run.")
