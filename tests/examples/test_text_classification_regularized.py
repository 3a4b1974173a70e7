"""Article: https://kexue.fm/archives/7234

What the example is made of: its text, its rows, its table, and going on.
"""

import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

from su_models.backend import has_xla
from su_models.optimizers import LazyOptimizer, Lookahead, SummedGradients

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


REVIEWS = example("text_classification_regularized")
GOOD, BAD = "很好很好很好", "不好不好不"
FEW_STEPS = {"steps": 4, "every": 2, "jit_compile": False}


def splits():
    """A set in which one character tells good from bad."""
    good = [f"{GOOD}{c}" for c in "abcdefgh"]
    bad = [f"{BAD}{c}" for c in "abcdefgh"]
    train = {"text": good + bad, "y": np.array([1] * 8 + [0] * 8)}
    test = {"text": [good[0], "很好", BAD], "y": np.array([1, 1, 0])}
    return {"train": train, "valid": dict(test), "test": test}


def test_codes_are_those_of_characters_then_of_pairs():
    codes = {"不": 2, "好": 3, "不好": 4}
    x = REVIEWS.encode(["不好x不", "好", ""], codes, 5)
    assert x.tolist() == [
        [2, 3, 1, 2, 0, 4, 1, 1, 0, 0],
        [3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0] * 10,
    ]
    assert REVIEWS.encode(["不好x不"], codes, 2).tolist() == [[2, 3, 4, 0]]


def test_rare_characters_and_pairs_are_unknown():
    data = splits()
    config = REVIEWS.Config(length=7)
    size = REVIEWS.prepare(data, config)
    # 很 好 不 a ... h; 很好 好很 不好 好不 were seen at least 5 times
    assert size == 2 + 11 + 4
    x = data["train"]["x"]
    assert x.shape == (16, 14) and x.max() == size - 1
    assert (x[:8, 12] == 1).all()  # the last pairs have one place each
    assert (x[8:, 12] == 0).all()  # those texts are shorter
    assert data["test"]["seen"].tolist() == [True, False, False]
    assert data["train"]["seen"].all()


def test_few_labels_are_as_many_of_each_class():
    y = np.array([0] * 600 + [1] * 400)
    rows = REVIEWS.labeled(y, True, seed=0)
    assert len(rows) == 10 and y[rows].sum() == 5
    again, other = (REVIEWS.labeled(y, True, seed=s) for s in (0, 1))
    assert (rows == again).all() and (rows != other).any()
    assert REVIEWS.labeled(y, False, seed=0).tolist() == list(range(1000))


def test_all_rows_come_before_one_comes_again():
    config = REVIEWS.Config(batch=4, steps=5)
    rows = REVIEWS.shuffled(np.arange(10, 18), config, seed=0)
    assert rows.shape == (5, 4)
    for turn in (rows[:2], rows[2:4]):
        assert sorted(turn.ravel()) == list(range(10, 18))
    assert (rows[:2] != rows[2:4]).any()  # in another order


def test_each_step_has_its_own_rows(monkeypatch):
    data, seen = splits(), []
    config = REVIEWS.Config(length=7, batch=4, **FEW_STEPS)
    size = REVIEWS.prepare(data, config)

    class Batches(REVIEWS.Batches):
        def __init__(self, split, *rows):
            super().__init__(split, *rows)
            seen.append(rows)

    monkeypatch.setattr(REVIEWS, "Batches", Batches)
    monkeypatch.setattr(REVIEWS, "FEW", 0.25)
    REVIEWS.train(REVIEWS.METHODS["vat-few"], 0, data, size, config)
    rows, unlabeled = (np.concatenate(part) for part in zip(*seen, strict=True))
    assert rows.shape == unlabeled.shape == (4, 4)
    assert len({*rows.ravel()}) == 4  # 2 of each class
    assert {*unlabeled.ravel()} == {*range(16)}


def test_batches_bring_texts_without_label_if_asked():
    split = {"x": np.arange(8)[:, None], "y": np.arange(8) % 2}
    rows = np.array([[0, 1], [2, 3]])
    x, y = REVIEWS.Batches(split, rows)[1]
    assert (x[:, 0].tolist(), y.tolist()) == ([2, 3], [0, 1])
    *_, third = REVIEWS.Batches(split, rows, rows + 4)[1]
    assert third[:, 0].tolist() == [6, 7]


def test_repeated_texts_do_not_count_among_the_unseen():
    test = {"seen": np.array([True, False, False])}
    hits = np.array([True, True, False])
    assert REVIEWS.judge(hits, test) == {"test": 2 / 3, "unseen": 0.5}


def test_the_weights_of_the_best_look_are_judged(monkeypatch):
    """Of the looks 1, 3 and 4 the third is best; the fourth is the last."""
    data = splits()
    config = REVIEWS.Config(**{**FEW_STEPS, "steps": 8}, length=7)
    size = REVIEWS.prepare(data, config)
    looks, weights = [0.1, 0.5, 0.7, 0.7], []

    def right(model, split):
        if split is data["valid"]:
            weights.append(model.get_weights())
            return np.array([looks[len(weights) - 1]])
        where = [
            i
            for i, before in enumerate(weights)
            if all(map(np.array_equal, before, model.get_weights()))
        ]
        return np.array([where[-1], 0, 0])

    monkeypatch.setattr(REVIEWS, "right", right)
    figures = REVIEWS.train(REVIEWS.METHODS["adam"], 0, data, size, config)
    assert figures["step"] == 6
    assert figures["last"] == 3 / 3 and figures["test"] == 2 / 3


def test_tf_idf_learns_the_toy():
    data = splits()
    REVIEWS.prepare(data, REVIEWS.Config())
    figures = REVIEWS.baseline(few=False, seed=0, splits=data)
    assert figures["test"] == figures["unseen"] == 1
    assert figures["strength"] in REVIEWS.STRENGTHS


def compiled_with(name, monkeypatch):
    """Returns the optimizer that a row trains with, without training."""
    data, config = splits(), REVIEWS.Config(length=7, batch=3)
    size, seen = REVIEWS.prepare(data, config), []

    def compile(self, optimizer, *args, **kwargs):
        seen.append((optimizer, kwargs["jit_compile"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "compile", compile)
    with pytest.raises(KeyboardInterrupt):
        REVIEWS.train(REVIEWS.METHODS[name], 0, data, size, config)
    return seen[0]


@pytest.mark.parametrize("name", REVIEWS.METHODS)
def test_all_rows_but_one_sum_the_gradients_of_tokens(name, monkeypatch):
    optimizer, jit = compiled_with(name, monkeypatch)
    kinds = []
    while hasattr(optimizer, "inner_optimizer"):
        kinds.append(type(optimizer))
        optimizer = optimizer.inner_optimizer
    assert type(optimizer) is type(keras.optimizers.Adam())
    assert (SummedGradients in kinds) == (name != "adam-unsummed")
    extra = {"lookahead": [Lookahead], "lazy": [LazyOptimizer]}
    wanted = [*extra.get(name, []), SummedGradients]
    assert kinds == (wanted if name != "adam-unsummed" else [])
    # settings tell such runs from those of before
    config = REVIEWS.Config()
    summed = REVIEWS.settings(name, config)["summed"]
    assert summed == (name != "adam-unsummed")
    assert jit == has_xla()


@pytest.fixture
def quick(monkeypatch):
    """Runs that take no time, and a list of them."""
    calls = []

    def train(method, seed, *others):
        calls.append((method.title, seed))
        figures = dict.fromkeys(("test", "unseen", "last"), 0.5 + seed / 10)
        return {**figures, "valid": [0.5], "seconds": 1, "processor_seconds": 1}

    monkeypatch.setattr(REVIEWS, "train", train)
    return calls


def test_what_is_finished_is_not_done_again(quick, tmp_path):
    path, config = tmp_path / "results.json", REVIEWS.Config()
    names = ["adam", "lookahead"]
    REVIEWS.run_all(path, names[:1], [0, 1], config, None, None)
    REVIEWS.run_all(path, names, [0, 1], config, None, None)
    titles = [REVIEWS.title(name) for name in names]
    assert quick == [(titles[0], 0), (titles[0], 1), (titles[1], 0),
                     (titles[1], 1)]  # fmt: skip
    assert [*tmp_path.iterdir()] == [path]


def test_a_run_with_other_settings_is_done_again(quick, tmp_path):
    path = tmp_path / "results.json"
    for steps in (8, 16, 16):
        config = REVIEWS.Config(steps=steps)
        REVIEWS.run_all(path, ["adam"], [0], config, None, None)
    assert len(quick) == 2
    assert REVIEWS.finished(path, ["adam"], [0, 1], REVIEWS.Config()) == {
        "adam": []
    }


def test_an_interrupted_run_leaves_the_others(quick, tmp_path, monkeypatch):
    path, config = tmp_path / "results.json", REVIEWS.Config()
    REVIEWS.run_all(path, ["adam"], [0], config, None, None)
    before = path.read_text("utf-8")

    def train(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(REVIEWS, "train", train)
    with pytest.raises(KeyboardInterrupt):
        REVIEWS.run_all(path, ["adam"], [0, 1], config, None, None)
    assert path.read_text("utf-8") == before


def test_the_table_has_mean_and_deviation(quick, tmp_path):
    path, config = tmp_path / "results.json", REVIEWS.Config()
    REVIEWS.run_all(path, ["adam"], [0, 1, 2], config, None, None)
    runs = REVIEWS.finished(path, ["adam"], [0, 1, 2], config)
    assert "60.00 ± 10.00" in REVIEWS.table(runs)[1]


@pytest.mark.parametrize(
    "name", [name for name in REVIEWS.METHODS if "adam" not in name]
)
def test_each_method_trains(name):
    data = splits()
    config = REVIEWS.Config(length=7, batch=3, **FEW_STEPS)
    size = REVIEWS.prepare(data, config)
    run = REVIEWS.train(REVIEWS.METHODS[name], 0, data, size, config)
    assert len(run["valid"]) == len(run["loss"]) == 2
    assert np.isfinite(run["loss"]).all()
    assert json.loads(json.dumps(run)) == run


@pytest.mark.slow
@pytest.mark.data
def test_smoke_run_leaves_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    REVIEWS.main(["--smoke", "--methods", "adam", "vat-few", "tf-idf"])
    assert " 3 of 3  TF-IDF" in capsys.readouterr().out
    folder = tmp_path / "runs" / "smoke-text-classification-regularized"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert [*metrics["results"]] == ["adam", "vat-few", "tf-idf"]
    assert metrics["results"]["tf-idf"][0]["test"] > 0.6
    assert (folder / "accuracy.png").stat().st_size > 5000
    REVIEWS.main(["--smoke", "--methods", "adam"])
    assert " of 1" not in capsys.readouterr().out  # it was there
