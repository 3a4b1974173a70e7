"""Article: https://kexue.fm/archives/6621

What the example does to text and trees, and the whole of it on made text.
"""

import dataclasses
import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest

from su_models.text import induce_tree

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LM = example("on_lstm_language_model")
TREE = [
    "S",
    ["NP", ["``", "``"], ["NP", ["NNP", "Mr."], ["NNP", "Vinken"]]],
    ["VP", ["VBZ", "is"], ["NP", ["-NONE-", "*"]], ["NP", ["DT", "the"]]],
    [".", "."],
]


def test_rows_of_batches_go_on_where_they_ended():
    ids = list(range(1, 60))
    x, y = LM.windows(ids, batch=4, steps=3)
    assert x.shape == y.shape == (4 * 4, 3)
    batches, targets = x.reshape(4, 4, 3), y.reshape(4, 4, 3)
    for row in range(4):
        stream = batches[:, row].ravel()
        assert stream.tolist() == ids[12 * row : 12 * row + 12]
        assert targets[:, row].ravel().tolist() == (stream + 1).tolist()


def test_words_are_written_as_the_text_has_them():
    vocabulary = LM.Vocabulary([["the", "1990s", "1\\/2", "<unk>", "N", "1/3"]])
    written = {
        "The": "the",
        "1990s": "1990s",
        "1,234.5": "N",
        "1\\/3": "1/3",
        "3\\/4": "N",
        "30-day": "30-day",
        "--": "--",
    }
    for word, form in written.items():
        assert vocabulary.normalize(word) == form
    assert vocabulary(["N", "30-day", "the"]) == [5, 4, 1]


def test_brackets_of_a_tree_of_the_treebank():
    tree = LM.bare(TREE)
    assert tree == [[["Mr.", "Vinken"]], ["is", ["the"]]]
    words, brackets = LM.spans(tree)
    assert words == ["Mr.", "Vinken", "is", "the"]
    assert brackets == {(0, 2), (2, 4)}


def test_brackets_of_an_induced_tree():
    words, brackets = LM.spans([["a", "b"], ["c", ["d", "e"]]])
    assert words == list("abcde")
    assert brackets == {(0, 2), (2, 5), (3, 5)}
    assert LM.spans(["a", "b"])[1] == LM.spans("a")[1] == set()


def test_f1_of_brackets():
    gold = {(0, 2), (2, 4)}
    assert LM.f1(gold, gold) == 1
    assert LM.f1({(0, 2), (0, 3)}, gold) == 0.5
    assert LM.f1({(0, 3)}, gold) == LM.f1(set(), gold) == 0


def test_scores_worked_by_hand():
    # ((a b) (c d)) has brackets ab, cd; (a (b (c d))) has bcd, cd
    words, wanted = LM.spans(LM.bare(TREE))
    right = LM.score([[4, 3, 2, 1]], [words], [wanted])
    assert right == 2 * 1 / (2 + 2)
    assert LM.score([[2, 1, 3, 1]], [words], [wanted]) == 1
    # the mean over sentences, not over brackets: a b c has one, right in none
    mean = LM.score(
        [[2, 1, 3, 1], [3, 2, 1]], [words, words[:3]], [wanted, {(0, 2)}]
    )
    assert mean == (1 + 0) / 2


def test_scores_of_trees_of_no_model():
    sentences = [["a", "b", "c"], ["a", "b", "c", "d"]]
    wanted = [{(1, 3)}, {(0, 2)}]
    right = [np.array([3, 2, 1]), np.array([4, 3, 2, 1])]
    result = LM.scores([right], sentences, wanted)
    assert result["layer 1"] == result["right-branching"] == 50.0
    assert result["left-branching"] == 33.3  # (0 + 2 / 3) / 2
    assert result["best binary trees"] == 83.3  # (1 + 2 / 3) / 2
    assert 0 <= result["random"] <= result["best binary trees"]


def test_perplexity_of_who_knows_frequencies_only():
    counts = LM.unigram(np.array([[1, 1], [1, 2]]), np.array([[1, 2, 3]]), 4)
    # with one more of each of the four: 4/8, 2/8, 1/8
    assert counts == 4.0


def test_both_stacks_have_as_many_parameters():
    config, counts = LM.Config(), []
    for layers in LM.on_lstm_layers(config), LM.lstm_layers(config):
        width = config.embedding
        for layer in layers:
            layer.build((config.batch, None, width))
            width = layer.cell.units
        assert width == config.embedding
        counts.append(sum(layer.count_params() for layer in layers))
    assert abs(counts[0] - counts[1]) < 0.01 * counts[0]


def made_text(n):
    """Sentences whose subject and verb agree."""
    random = np.random.default_rng(0)
    pairs = [("dog", "runs"), ("dogs", "run"), ("cat", "sits"), ("cats", "sit")]
    sentences = []
    for _ in range(n):
        noun, verb = pairs[random.integers(4)]
        sentences.append(["the", noun, "N", verb, "on", "mats", "<eos>"])
    return [*sentences, ["<unk>", "<eos>"]]


@pytest.mark.slow
def test_the_whole_on_made_text(tmp_path, monkeypatch, capsys):
    if keras.backend.backend() == "jax":
        pytest.skip("keras.layers.LSTM forgets its state on JAX")
    words = [["NN", w] for w in made_text(1)[0][:-1]]
    tree = ["S", ["NP", *words[:2]], ["VP", *words[2:]]]
    sets = {
        "ptb": {
            name: {"tokens": made_text(n)}
            for name, n in (("train", 400), ("valid", 100), ("test", 100))
        },
        "treebank_sample": {"all": {"trees": [tree] * 3}},
    }
    monkeypatch.setattr(LM, "load", sets.get)
    monkeypatch.setattr(LM, "HELD_OUT", 10)
    # seconds decide how much is read: enough for a slow machine too
    longer = dataclasses.replace(LM.SMOKE, minutes=0.2)
    monkeypatch.setattr(LM, "SMOKE", longer)
    monkeypatch.chdir(tmp_path)
    LM.main(["--smoke"])
    folder = tmp_path / "runs/smoke-on-lstm-language-model"
    files = {"trees.png", "training.png", "model.keras", "config.json"}
    assert files <= {path.name for path in folder.iterdir()}
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    for name in "ON-LSTM", "LSTM":
        row = metrics[name]
        assert 1 < row["test_perplexity"] < metrics["unigram_test_perplexity"]
        assert row["seconds"] >= 60 * LM.SMOKE.minutes
    assert metrics["F1, at most 10 words"]["sentences"] == 3
    shown = capsys.readouterr().out
    assert "right-branching" in shown and "LSTM" in shown
    # what was written parses as what was trained
    model = keras.saving.load_model(folder / "model.keras")
    vocabulary = LM.Vocabulary(sets["ptb"]["train"]["tokens"])
    sentence = made_text(1)[0][:-1]
    ((first,), *_) = LM.distances_of(model, vocabulary, [sentence])
    assert first.shape == (6,) and induce_tree(first, sentence)


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(tmp_path):
    config = dataclasses.replace(LM.SMOKE, dropout=0.0)
    random = np.random.default_rng(0)
    x, y = LM.windows(random.integers(9, size=10_000).tolist(), 8, 10)

    def learner():
        model = LM.language_model(
            LM.on_lstm_layers(config, stateful=True), config, 9
        )
        return LM.Learner("a", model, config, tmp_path)

    first = learner()
    losses = [first.turn(x, y) for _ in range(3)]
    then = learner()
    assert then.turns == 3 and then.log.seconds == first.log.seconds
    for one, other in zip(
        first.model.get_weights(), then.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    rate = config.learning_rate * then.left
    losses.append(then.turn(x, y))
    assert float(then.model.optimizer.learning_rate) == pytest.approx(rate)
    assert then.model.optimizer.iterations == 4 * config.turn + 1
    np.testing.assert_allclose(then.curve(), losses, rtol=1e-6)
    assert then.epochs(x) == 4 * config.turn * 8 / len(x)
