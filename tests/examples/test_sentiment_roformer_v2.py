"""Article: https://kexue.fm/archives/6418

The parts of the example: its rows, its networks, its recipes, going on.
"""

import dataclasses
import json

import keras
import numpy as np
import pytest

from su_models.checkpoints import save_checkpoint
from su_models.models import build_transformer_model
from su_models.optimizers import LearningRateMultipliers, SummedGradients
from su_models.text import save_vocab
from tests.contract import to_numpy
from tests.examples.test_ddpm_digits import example

SENTIMENT = example("sentiment_roformer_v2")
CONFIG = dataclasses.replace(SENTIMENT.SMOKE, length=9, batch=4)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "很好不abcdefgh"
SIZES = {
    "vocab_size": len(SPECIAL) + len(LETTERS),
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_act": "relu",
    "segment_vocab_size": 0,
}


def reviews():
    """A set in which one character tells good from bad."""
    good = [f"很好很好{c}" for c in "abcdefgh"]
    bad = [f"不好不{c}" for c in "abcdefgh"]
    train = {"text": good + bad, "y": np.array([1] * 8 + [0] * 8)}
    test = {"text": [good[0], "很好", "不好"], "y": np.array([1, 1, 0])}
    return {"train": train, "valid": dict(test), "test": test}


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """A folder like that of roformer_v2_mlm.py."""
    monkeypatch.setattr(SENTIMENT, "load", lambda name: reviews())
    if keras.config.backend() == "tensorflow":  # XLA compiles for seconds
        monkeypatch.setattr(SENTIMENT, "has_xla", lambda: False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "encoder"
    folder.mkdir()
    words = [*SPECIAL, *LETTERS]
    save_vocab(folder / "vocab.txt", {w: i for i, w in enumerate(words)})
    (folder / "bert_config.json").write_text(json.dumps(SIZES))
    keras.utils.set_random_seed(7)
    model = build_transformer_model(model="roformer_v2", **SIZES)
    save_checkpoint(model, folder / "encoder.ckpt", "roformer_v2")
    metrics = {"saved": "plain", "valid_loss": {}, "parameters": 1}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_reviews_become_padded_ids(encoder):
    splits = SENTIMENT.prepare(encoder, CONFIG)
    x = splits["test"]["x"]
    assert x.shape == (3, 9)
    assert x[1].tolist() == [2, 5, 6, 3, 0, 0, 0, 0, 0]
    assert splits["test"]["seen"].tolist() == [True, False, False]


def test_without_the_encoder_it_says_what_to_run(tmp_path, encoder):
    with pytest.raises(FileNotFoundError, match="roformer_v2_mlm.py trains"):
        SENTIMENT.prepare(tmp_path, CONFIG)


def test_few_labels_are_as_many_of_each_class():
    y = np.array([0] * 600 + [1] * 400)
    few = SENTIMENT.METHODS["tuned-few"]
    rows = SENTIMENT.chosen(y, few, 0, CONFIG)
    assert len({*rows}) == 10 and y[rows].sum() == 5
    again, other = (SENTIMENT.chosen(y, few, s, CONFIG) for s in (0, 1))
    assert (rows == again).all() and (rows != other).any()
    every = SENTIMENT.chosen(y, SENTIMENT.METHODS["tuned"], 0, CONFIG)
    assert every.tolist() == list(range(1000))


def test_every_epoch_has_all_rows_in_another_order():
    method = SENTIMENT.Method("", epochs=2)
    rows = SENTIMENT.ordered(np.arange(10, 18), method, 0, CONFIG)
    assert rows.shape == (4, 4)
    assert sorted(rows[:2].ravel()) == sorted(rows[2:].ravel())
    assert (rows[:2] != rows[2:]).any()
    other = SENTIMENT.ordered(np.arange(10, 18), method, 1, CONFIG)
    assert (rows != other).any()


def network(name, encoder, **changes):
    method = dataclasses.replace(SENTIMENT.METHODS[name], **changes)
    return method, SENTIMENT.transformer(method, encoder, CONFIG)


def test_only_pretrained_networks_have_the_encoder(encoder):
    plain = build_transformer_model(
        encoder / "bert_config.json",
        encoder / "encoder.ckpt",
        model="roformer_v2",
    )
    table = to_numpy(plain.get_layer("Embedding-Token").embeddings)
    for name, equal in (("tuned", True), ("scratch", False)):
        _, model = network(name, encoder)
        found = to_numpy(model.get_layer("Embedding-Token").embeddings)
        assert (found == table).all() == equal


def test_padding_does_not_change_the_class(encoder):
    _, model = network("tuned", encoder)
    ids = np.array([[2, 5, 6, 3]])
    padded = np.pad(ids, [[0, 0], [0, 5]])
    np.testing.assert_allclose(
        to_numpy(model(ids)), to_numpy(model(padded)), atol=1e-5
    )


def moved(model, before):
    """The layers whose weights have changed."""
    return {
        layer.name
        for layer in model.layers
        if layer.weights
        and any(
            (a != b).any()
            for a, b in zip(
                layer.get_weights(), before[layer.name], strict=True
            )
        )
    }


def test_frozen_layers_do_not_move(encoder):
    method, model = network("frozen", encoder)
    before = {x.name: x.get_weights() for x in model.layers}
    model.compile(
        SENTIMENT.optimizer(method, model, 10, CONFIG),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(np.array([[2, 5, 6, 3]] * 4), np.array([0, 1, 1, 1]), verbose=0)
    assert moved(model, before) == {
        "Transformer-2-MultiHeadSelfAttention",
        "Transformer-2-FeedForward",
        "Sentiment",
    }


def test_rates_fall_from_block_to_block(encoder):
    """With SGD the moved distances are the rates times the gradients."""
    method, model = network("rates", encoder, decay=0.5)
    optimizer = SENTIMENT.optimizer(method, model, 10, CONFIG)
    assert isinstance(optimizer, LearningRateMultipliers)
    assert isinstance(optimizer.inner_optimizer, SummedGradients)
    assert optimizer.multipliers == {
        "Transformer-0-": 0.125,
        "Transformer-1-": 0.25,
        "Transformer-2-": 0.5,
        "Embedding-Token": 0.0625,
    }
    optimizer.build(model.trainable_variables)  # each pattern is found


@pytest.mark.parametrize("name", ["tuned", "scratch", "embeddings"])
def test_the_rate_rises_and_falls(name, encoder):
    method = SENTIMENT.METHODS[name]
    adam = SENTIMENT.optimizer(method, None, 100, CONFIG)
    assert isinstance(adam, SummedGradients)
    rate = adam.inner_optimizer._learning_rate
    rates = [float(rate(t)) for t in range(100)]
    assert max(rates) == pytest.approx(method.learning_rate)
    assert 0 < rates[0] < rates[5] < rates[10] > rates[50] > rates[99] > 0


@pytest.mark.parametrize("n", [1, 130])
def test_every_review_gets_a_class(n):
    ids = keras.Input((3,))
    model = keras.Model(ids, keras.layers.Dense(2)(ids))
    x = np.random.default_rng(0).normal(size=(n, 3)).astype("float32")
    want = to_numpy(model(x)).argmax(axis=-1)
    assert SENTIMENT.classes(model, x).tolist() == want.tolist()


def test_repeated_texts_do_not_count_among_the_unseen():
    split = {"y": np.array([1, 1, 0]), "seen": np.array([True, False, False])}
    splits = {"valid": split, "test": split}
    found = SENTIMENT.judge(lambda name: np.array([1, 1, 1]), splits)
    assert found == {"valid": 2 / 3, "test": 2 / 3, "unseen": 0.5}


def test_counting_learns_the_toy(encoder):
    splits = SENTIMENT.prepare(encoder, CONFIG)
    method = SENTIMENT.METHODS["tf-idf"]
    found = SENTIMENT.count(method, 0, splits, CONFIG)
    assert found["test"] == found["unseen"] == 1
    assert found["strength"] in SENTIMENT.STRENGTHS


def test_networks_learn_the_toy(encoder):
    splits = SENTIMENT.prepare(encoder, CONFIG)
    method = dataclasses.replace(
        SENTIMENT.METHODS["tuned"], epochs=20, learning_rate=3e-3
    )
    figures, model = SENTIMENT.train(method, 0, splits, encoder, CONFIG)
    assert figures["test"] == 1 and figures["loss"] < 0.6
    assert model.get_layer("Sentiment").units == 2


@pytest.fixture
def quick(monkeypatch):
    """Runs that take no time, and a list of them."""
    calls = []

    def train(method, seed, *others):
        calls.append((method.title, seed))
        figures = dict.fromkeys(("valid", "test", "unseen"), 0.5 + seed / 10)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        return {**figures, "seconds": 1.0}, model

    monkeypatch.setattr(SENTIMENT, "train", train)
    return calls


def test_finished_runs_are_not_repeated(quick, encoder, capsys):
    words = ["--smoke", "--encoder", str(encoder), "--methods"]
    SENTIMENT.main([*words, "scratch"])
    SENTIMENT.main([*words, "scratch", "tuned"])
    assert quick == [("from scratch", 0), ("fine-tuned", 0)]
    assert capsys.readouterr().out.count("from scratch, seed 0") == 1


@pytest.mark.parametrize("change", ["rate", "encoder"])
def test_a_run_with_other_settings_is_done_again(change, quick, encoder):
    words = ["--smoke", "--encoder", str(encoder), "--methods", "tuned"]
    SENTIMENT.main(words)
    if change == "rate":
        words += ["--learning-rate", "0.1"]
    else:
        metrics = {"saved": "alpha", "valid_loss": {}, "parameters": 1}
        (encoder / "metrics.json").write_text(json.dumps(metrics))
    SENTIMENT.main(words)
    assert len(quick) == 2


def test_the_table_has_mean_and_deviation():
    runs = [
        {"valid": v, "test": v, "unseen": v, "seconds": 2.0}
        for v in (0.5, 0.6, 0.7)
    ]
    assert "60.00 ± 10.00" in SENTIMENT.table({"tuned": runs})[1]
    assert "±" not in SENTIMENT.table({"tuned": runs[:1]})[1]


@pytest.mark.slow
def test_the_whole_on_made_reviews(encoder, tmp_path, capsys):
    SENTIMENT.main(["--smoke", "--encoder", str(encoder)])
    folder = tmp_path / "runs" / "smoke-sentiment-roformer-v2"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert [*metrics["results"]] == [*SENTIMENT.METHODS]
    assert (folder / "accuracy.png").stat().st_size > 5000
    model = keras.saving.load_model(folder / "classifier.keras")
    assert model.output_shape == (None, 2)
    shown = capsys.readouterr().out
    assert all(m.title in shown for m in SENTIMENT.METHODS.values())
