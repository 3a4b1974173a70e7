"""Article: https://kexue.fm/archives/8998

The parts of the example: its text, its masks, counting, α, going on.
"""

import collections
import dataclasses
import itertools
import json

import keras
import numpy as np
import pytest
from keras import ops

from su_models.models import build_transformer_model
from su_models.text import Tokenizer, save_vocab
from tests.contract import normal, to_numpy
from tests.examples.test_ddpm_digits import example

MLM = example("roformer_v2_mlm")
CONFIG = dataclasses.replace(MLM.SMOKE, length=12, masked=3, judged=3)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
VOCABULARY = {t: i for i, t in enumerate([*SPECIAL, *LETTERS])}
TOKENIZER = Tokenizer(VOCABULARY)
PAD, UNK, CLS, SEP, MASK = range(5)


def text_of(n, seed=0):
    """Texts in which each character follows from the one before."""
    random = np.random.default_rng(seed)
    starts = random.integers(len(LETTERS), size=n)
    lengths = random.integers(5, 16, size=n)
    return [
        "".join(LETTERS[(s + i) % len(LETTERS)] for i in range(k))
        for s, k in zip(starts, lengths, strict=True)
    ]


def rows_of(n, seed=0):
    return MLM.pack(text_of(n, seed), TOKENIZER, CONFIG)


# ---- text


def test_texts_are_chosen_once_and_up_to_a_number_of_characters():
    random = np.random.default_rng(0)
    texts = ["天 地", "天\n地", "玄黄宇宙", "洪荒", ""]
    every = MLM.selected(texts, 99, random)
    assert sorted(every) == sorted(["天 地", "玄黄宇宙", "洪荒", ""])
    assert sum(map(len, MLM.selected(texts, 7, random))) <= 7
    orders = {tuple(MLM.selected(texts, 99, random)) for _ in range(20)}
    assert len(orders) > 1


def test_shares_of_characters_without_a_token():
    shares = MLM.unknown(["天天鳳 A", "天"], {"天": 0, "a": 1})
    assert shares == (1 / 5, 1 / 3)


def test_rows_are_texts_one_behind_the_other():
    rows = MLM.pack(["天地玄黄宇宙洪", "日月", "盈"], TOKENIZER, CONFIG)
    shown = ["".join(TOKENIZER.ids_to_tokens(row)) for row in rows]
    assert shown == ["[CLS]天地玄黄宇宙洪[SEP]日月[SEP]"]
    assert rows.dtype == "int32"


def test_rows_with_too_little_to_mask_are_left_out():
    texts = ["天", "e" * 30 + "地", "玄黄宇宙洪荒日月盈昃辰宿列"]
    config = dataclasses.replace(CONFIG, length=4, masked=2)
    for row in MLM.pack([*texts, *"天地玄黄"], TOKENIZER, config):
        assert (row > MASK).sum() >= 2


def test_splits_have_no_text_in_common(monkeypatch):
    texts = text_of(200)
    found = {"poems, traditional": texts, "news": [*texts[:5], *text_of(50, 1)]}
    monkeypatch.setattr(MLM, "documents", lambda: found)
    monkeypatch.setattr(
        MLM,
        "simplifier",
        lambda: lambda texts: [t.replace("天", "地") for t in texts],
    )
    splits, shares = MLM.corpus(MLM.Config(), {"地": 0})
    assert [*splits] == ["train", "valid", "test"]
    for name in ("poems", "news"):
        parts = [splits[split][name] for split in splits]
        every = [text for part in parts for text in part]
        assert all(parts) and len({*every}) == len(every)
    assert "天" not in "".join(splits["train"]["poems"])
    assert "天" in "".join(splits["train"]["news"])
    assert shares["poems"]["simplified"] < shares["poems"]["as they are"]
    assert [*shares] == ["poems"]


# ---- masks


def masking():
    return MLM.Masking(TOKENIZER, 3)


def test_masked_characters_are_the_targets():
    rows = rows_of(50)
    (ids, positions), targets = masking()(rows, np.random.default_rng(0))
    for row, hidden, at, wanted in zip(
        rows, ids, positions, targets, strict=True
    ):
        assert len({*at}) == 3 and sorted(at) == at.tolist()
        assert (row[at] == wanted).all() and (row[at] > MASK).all()
        assert (hidden[at] == MASK).all()
        others = np.delete(np.arange(len(row)), at)
        assert (hidden[others] == row[others]).all()


def test_eight_of_ten_are_hidden_one_is_another_and_one_stays():
    rows = np.full((4000, 12), VOCABULARY["天"])
    others = np.arange(5, len(VOCABULARY))
    hide = MLM.Masking(TOKENIZER, 3, others)
    (ids, positions), targets = hide(rows, np.random.default_rng(0))
    seen = np.take_along_axis(ids, positions, axis=1).ravel()
    assert (targets == VOCABULARY["天"]).all()
    hidden, same = np.mean(seen == MASK), np.mean(seen == VOCABULARY["天"])
    assert abs(hidden - 0.8) < 0.02
    assert abs(same - (0.1 + 0.1 / len(LETTERS))) < 0.02
    assert {*seen} == {MASK, *range(5, len(VOCABULARY))}


def test_masks_follow_from_the_epoch_and_the_step():
    batches = MLM.Batches(rows_of(50), masking(), CONFIG)

    def batch(epoch, index):
        batches.begin(epoch)
        (ids, positions), targets = batches[index]
        return ids, positions, targets

    first = batch(0, 1)
    for other in (batch(0, 0), batch(1, 1)):
        assert any((a != b).any() for a, b in zip(first, other, strict=True))
    for a, b in zip(first, batch(0, 1), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- counting


def test_neighbors_are_those_of_the_loop():
    rows, size, s = rows_of(40), len(VOCABULARY), 2.0
    model = MLM.Neighbors(rows, size, range(5), s)
    single = collections.Counter(rows.ravel().tolist())
    pairs = collections.Counter(
        pair for row in rows.tolist() for pair in itertools.pairwise(row)
    )
    total = rows.size + size

    def p(c):
        return (single[c] + 1) / total

    def following(b, a):
        n = sum(m for (x, _), m in pairs.items() if x == a)
        return (pairs[a, b] + s * p(b)) / (n + s)

    left, right = np.array([7, -1, 7, -1]), np.array([9, 9, -1, -1])
    found = np.exp(model.log_probabilities(left, right))
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        want = [
            0
            if c < 5
            else (p(c) if a < 0 else following(c, a))
            * (1 if b < 0 else following(b, c))
            for c in range(size)
        ]
        np.testing.assert_allclose(found[i], want / np.sum(want), rtol=1e-10)


def test_masked_neighbors_are_unknown():
    ids = np.array([[CLS, MASK, MASK, 8, MASK, SEP]])
    left, right = MLM.contexts((ids, np.array([[1, 2, 4]])), MASK)
    assert left.tolist() == [CLS, -1, 8]
    assert right.tolist() == [-1, 8, SEP]


def test_counting_learns_the_text():
    rows = rows_of(300)
    batch = masking()(rows_of(60, 1), np.random.default_rng(0))
    figures, best = MLM.baselines(rows, batch, {"all": batch}, TOKENIZER)
    accuracy = {kind: f["all"]["accuracy"] for kind, f in figures.items()}
    assert accuracy["most frequent"] < 0.2
    assert accuracy["left neighbor"] > 0.6
    assert accuracy["both neighbors"] > accuracy["left neighbor"]
    assert best.strength in MLM.STRENGTHS


# ---- models


def test_alpha_rises_with_the_calls_in_training():
    ramp, x = MLM.Ramp(4), normal(2, 3)
    for alpha in (0, 0.25, 0.5, 0.75, 1, 1):
        np.testing.assert_allclose(to_numpy(ramp(x)), alpha * x)
        np.testing.assert_allclose(to_numpy(ramp(x, training=True)), alpha * x)


def test_vectors_at_positions():
    x, positions = normal(2, 5, 3), np.array([[0, 3], [4, 1]])
    want = np.take_along_axis(x, positions[..., None], axis=1)
    found = MLM.TakePositions()(x, positions)
    np.testing.assert_allclose(to_numpy(found), want, atol=1e-6)


def logits_of(model, batch):
    return to_numpy(model(batch[0]))


def test_with_alpha_0_no_character_sees_another():
    """Each block is then Norm(x), and x is normalized."""
    batch = masking()(rows_of(20), np.random.default_rng(0))
    model = MLM.pretrained(CONFIG, len(VOCABULARY), rises=True)
    logits = logits_of(model, batch)
    np.testing.assert_allclose(
        logits, np.broadcast_to(logits[:1, :1], logits.shape), atol=1e-5
    )
    plain = logits_of(
        MLM.pretrained(CONFIG, len(VOCABULARY), rises=False), batch
    )
    assert np.abs(plain - plain[:1, :1]).max() > 1e-3


@pytest.fixture
def graph(monkeypatch):
    """Compiling by XLA would take most of the time on TensorFlow."""
    if keras.config.backend() == "tensorflow":
        monkeypatch.setattr(MLM, "has_xla", lambda: False)


def trained(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    model = MLM.pretrained(CONFIG, len(VOCABULARY), rises=True)
    batches = MLM.Batches(rows_of(60), masking(), CONFIG)
    valid = masking()(rows_of(20, 1), np.random.default_rng(0))
    history = MLM.train("name", model, batches, valid, CONFIG, tmp_path)
    return model, valid, history


def test_the_checkpoint_is_the_trained_model(tmp_path, graph):
    model, batch, history = trained(tmp_path)
    assert [row["epoch"] for row in history] == [0, 1]
    path = tmp_path / MLM.CHECKPOINT
    MLM.save_encoder(model, path, CONFIG, len(VOCABULARY))
    again = build_transformer_model(
        checkpoint_path=path,
        model="roformer_v2",
        with_mlm="linear",
        **MLM.sizes(CONFIG, len(VOCABULARY)),
    )
    (ids, positions), _ = batch
    want = np.take_along_axis(
        to_numpy(again(ids)), positions[..., None], axis=1
    )
    np.testing.assert_allclose(logits_of(model, batch), want, atol=1e-5)


def test_a_killed_training_goes_on(tmp_path, graph):
    """It ends with the weights of an uninterrupted one."""
    wanted = trained(tmp_path / "whole")[0].get_weights()
    begin = MLM.Batches.begin

    def killed(self, epoch):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MLM.Batches, "begin", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts")
    model, _, history = trained(tmp_path / "parts")
    assert [row["epoch"] for row in history] == [0, 1]
    for a, b in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_nothing_of_a_text_is_lost_when_masks_are_filled():
    model = build_transformer_model(
        model="roformer_v2",
        with_mlm="linear",
        **MLM.sizes(CONFIG, len(VOCABULARY)),
    )
    counts = MLM.Neighbors(rows_of(40), len(VOCABULARY), range(5), 1.0)
    ((source, text, truth, found, counted),) = MLM.fill(
        model, counts, {"poems": ["天地玄黄宇宙洪荒日月"]}, TOKENIZER
    )
    assert (source, text, truth) == ("poems", "天地＿黄宇宙洪＿日月", "玄 荒")
    assert len(found.split()) == 2 and counted == "玄 荒"


def test_without_a_vocabulary_it_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="^The data set lacks"):
        MLM.arguments(["--vocabulary", str(tmp_path / "none.txt")])


@pytest.mark.slow
def test_the_whole_on_made_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_vocab(tmp_path / "vocab.txt", VOCABULARY)
    sources = ["Tang poems, traditional", "news", "passages, traditional"]
    found = {s: text_of(300, i) for i, s in enumerate(sources)}
    monkeypatch.setattr(MLM, "documents", lambda: found)
    monkeypatch.setattr(MLM, "simplifier", lambda: list)
    MLM.main(["--smoke", "--vocabulary", "vocab.txt"])
    folder = tmp_path / "runs" / "smoke-roformer-v2-mlm"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert [*metrics["test"]] == [
        "most frequent",
        "left neighbor",
        "both neighbors",
        "alpha-2",
        "plain-2",
        f"{metrics['saved']}-4",
    ]
    losses = metrics["valid_loss"]
    better = min(MLM.VARIANTS, key=lambda kind: losses[f"{kind}-2"])
    assert metrics["saved"] == better
    assert (folder / "training.png").stat().st_size > 5000
    assert (folder / "filled.md").read_text("utf-8").count("\n") > 4
    assert not [*folder.glob("*.bin")]
    model = build_transformer_model(
        folder / "bert_config.json",
        folder / MLM.CHECKPOINT,
        model="roformer_v2",
    )
    assert model(ops.ones((1, 3), "int32")).shape == (1, 3, 16)
    shown = capsys.readouterr().out
    assert "test accuracy" in shown and "4 of 4 steps" not in shown


@pytest.mark.slow
@pytest.mark.data
def test_smoke_run_on_the_real_text(tmp_path, monkeypatch):
    pytest.importorskip("opencc", reason="the extra opencc")
    monkeypatch.chdir(tmp_path)
    MLM.main(["--smoke"])
    folder = tmp_path / "runs" / "smoke-roformer-v2-mlm"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    shares = metrics["unknown"]["Tang poems"]
    assert shares["simplified"][0] < shares["as they are"][0]


def test_the_report_has_a_line_for_each_model(capsys):
    figures = {"news": {"accuracy": 0.5, "loss": 2.0}}
    MLM.report(
        {
            "test": {"alpha": figures, "plain": figures},
            "unknown": {"news": {"as they are": (0.25, 0.5)}},
        }
    )
    shown = capsys.readouterr().out
    assert shown.count("50.0") == 5  # of which one is a share
    assert "as they are 25.00 (50.0)" in shown
