"""Tokenization of real Chinese text: `text.Tokenizer` and its peers.

Reviews of bert4keras' sentiment data set are encoded with Google's Chinese
vocabulary, cased and in lower case, by

* `encode_batch` of `su_models.text.Tokenizer`, all texts at once, into padded
  arrays; and its `encode`, one text after the other;
* `encode` of bert4keras 0.11.5, one text after the other, in a separate process
  of the interpreter SU_MODELS_LEGACY_PYTHON;
* `BertWordPieceTokenizer` of tokenizers (Rust), as a batch and one by one,
  with its default number of threads.

The library and bert4keras must give the same ids for every text before anything
is measured; the number of texts for which tokenizers differs is printed. Peers
alternate.

    KERAS_BACKEND=tensorflow python -m benchmarks.tokenizer

It needs the vocabulary at $SU_MODELS_DATA/vocab/bert_chinese_21128.txt, or
`--vocabulary`. The seed is 0. benchmarks/README.md lists results with dates and
devices.
"""

import argparse
import os
import pathlib
import tempfile

import tokenizers

from benchmarks.common.bert4keras_tokenizer import Bert4kerasTokenizer
from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from su_models.data import load
from su_models.text import Tokenizer, save_vocab

SEED = 0
BATCH = "su_models, a batch"
ONE = "su_models, one by one"
PEER = "bert4keras, one by one"
RUST_BATCH, RUST = "tokenizers, a batch", "tokenizers, one by one"
SMOKE = ["今天天气真好。", "Keras 3, 2024!", "我爱自然语言处理"] * 3
DATA = "SU_MODELS_DATA"


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    result = circumstances("keras", "numpy", "tokenizers")
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vocab.txt"
            save_vocab(path, _small_vocabulary())
            result |= _both(path, SMOKE, given.rounds)
    else:
        texts = load("bert4keras_sentiment")["train"]["text"][: given.texts]
        result |= _both(_vocabulary(given), texts, given.rounds)
    if given.json:
        record(given.json, "tokenizer", result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--vocabulary", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    if given.smoke:
        given.rounds = 1
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/tokenizer.json")
    return given


def _vocabulary(given):
    """Returns the path of the vocabulary."""
    if given.vocabulary is None and DATA not in os.environ:
        raise SystemExit(
            f"`--vocabulary` must be given, or {DATA} be set. Received: neither"
        )
    folder = pathlib.Path(os.environ.get(DATA, ""))
    return given.vocabulary or folder / "vocab" / "bert_chinese_21128.txt"


def _small_vocabulary():
    """Returns a vocabulary of the characters of the smoke run."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted(set("".join(SMOKE).replace(" ", "")))
    pieces = [f"##{c}" for c in characters if c.isascii()]
    return {t: i for i, t in enumerate([*special, *characters, *pieces])}


def _both(path, texts, rounds):
    """Measures cased text, and text in lower case."""
    results = {"texts": len(texts), "characters": sum(map(len, texts))}
    for name, lower in ("cased", False), ("uncased", True):
        results[name] = _measure(name, path, lower, texts, rounds)
    return results


def _measure(name, path, lower, texts, rounds):
    ours = Tokenizer(path, do_lower_case=lower)
    rust = tokenizers.BertWordPieceTokenizer(
        str(path), lowercase=lower, strip_accents=lower
    )
    other = Bert4kerasTokenizer(path, lower, texts)
    check_same(ours, texts, other.ids)
    found = [row.ids for row in rust.encode_batch(texts)]
    differing = sum(a != b for a, b in zip(found, other.ids, strict=True))
    peers = {
        BATCH: lambda: ours.encode_batch(texts),
        ONE: lambda: [ours.encode(text) for text in texts],
        PEER: other.encode,
        RUST_BATCH: lambda: rust.encode_batch(texts),
        RUST: lambda: [rust.encode(text) for text in texts],
    }
    for peer in peers.values():
        peer()
    seconds = alternate(peers, rounds, SEED)
    other.close()
    summary = summarize(seconds, BATCH)
    show(f"{name}: {len(texts)} texts, {rounds} rounds", summary)
    one_by_one = summary[PEER]["ratio"] / summary[ONE]["ratio"]
    print(f"one by one, bert4keras / su_models: {one_by_one:.2f}")
    print(f"texts whose ids differ in tokenizers: {differing}")
    return {
        "summary": summary,
        "seconds": seconds,
        "one_by_one": one_by_one,
        "differing_in_tokenizers": differing,
    }


def check_same(ours, texts, expected):
    """Exits if a text has other ids, in a batch or alone."""
    batch = ours.encode_batch(texts)[0]
    for text, padded, ids in zip(texts, batch, expected, strict=True):
        row = padded[: len(ids)].tolist()
        if (
            row != ids
            or padded[len(ids) :].any()
            or ours.encode(text)[0] != ids
        ):
            raise SystemExit(
                f"Ours and bert4keras' ids differ. Received: text={text!r}"
            )


if __name__ == "__main__":
    main()
