"""Article: https://kexue.fm/archives/6933"""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from su_models.export import export_saved_model
from su_models.models import generate
from su_models.runs import RunFolder
from su_models.tasks import load_task, poem_writing
from su_models.tasks.quatrain_form import COMMA, END, STOP, lines_of, rhymes
from su_models.tasks.quatrain_judge import perplexities
from su_models.tasks.quatrains import load_quatrains
from tests.contract import to_numpy
from tests.runs.line import assert_equal, names
from tests.tasks.poems import LETTERS, numbers, tiny, use

TITLES = ["天地", "玄", "犬 a"]  # as many as are held out
KNOWN = dict(zip(LETTERS, numbers(LETTERS), strict=True))


@pytest.fixture(autouse=True)
def _rhymes(monkeypatch):
    """Rhymes without the package."""
    poem_writing._numbers_of.cache_clear()
    monkeypatch.setattr(poem_writing, "rhyme_numbers", numbers)
    yield
    poem_writing._numbers_of.cache_clear()


@pytest.fixture
def data(monkeypatch):
    use(monkeypatch)
    yield
    load_quatrains.cache_clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run and its model, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        use(patch)
        model = tiny().train(folder, progress=False)
    load_quatrains.cache_clear()
    return folder, model


# ---- training


def test_a_restored_run_writes_the_same_without_the_data(run, monkeypatch):
    folder, model = run
    assert names(folder) == ["config.json", "history.csv", "model.keras"]
    monkeypatch.setattr(poem_writing, "load_quatrains", None)
    task, again = load_task(folder), RunFolder(folder).load_model()
    assert task == tiny()
    assert_equal(again, model)
    made = task.generate(again, TITLES, seed=3)
    assert made == tiny().generate(model, TITLES, seed=3)


def test_a_row_is_a_title_and_its_poem(data):
    task = tiny()
    (ids, segments), targets = task.examples()
    tokens = task.build().get_layer("Embedding-Token").tokens
    assert ids.shape == segments.shape == targets.shape
    assert ids.shape[1] == 4 + 2 + 33
    rows = zip(task.pairs(), ids, segments, targets, strict=True)
    for (title, poem), row, segment, target in rows:
        shown = [tokens[i] for i in row if i]
        head = ["[CLS]", *title, "[SEP]"]
        assert shown == [*head, *poem, "[SEP]"]
        n = len(head)
        assert segment.tolist() == [
            int(n <= i < len(shown)) for i in range(len(row))
        ]
        # the last token of the title predicts the first of the poem
        wanted = np.zeros_like(row)
        wanted[n - 1 : len(shown) - 1] = row[n : len(shown)]
        assert target.tolist() == wanted.tolist()


def test_long_titles_are_cut_and_unknown_characters_are_unk(data):
    task = tiny()
    tokenizer = task.tokenizer(task.build())
    for text in ("犬天a地玄黄", "😀天？地"):
        (ids,), (segments,) = task.prompts(tokenizer, [text])
        assert ids[0] == 2 and 1 in ids and len(ids) == 6
        assert not segments.any()


def test_the_loss_is_that_of_the_poem_alone(data):
    task = tiny(dropout=0.0)
    model = task.build()
    trainer = task.trainer(model)
    (ids, segments), targets = task.examples()
    x, y = [ids[:8], segments[:8]], targets[:8]
    found = trainer.evaluate(x, y, batch_size=8, verbose=0)
    logits = to_numpy(model(x)).astype("float64")
    losses = []
    for i in range(8):
        for t in range(ids.shape[1] - 1):
            if segments[i, t + 1] == 1:
                scores = logits[i, t]
                p = np.exp(scores) / np.exp(scores).sum()
                losses.append(-np.log(p[ids[i, t + 1]]))
    assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_title_is_seen_from_both_sides_and_the_poem_from_one(data):
    task = tiny()
    model = task.build()
    (ids, segments), _ = task.examples()
    x = ids[:1], segments[:1]
    before = to_numpy(model([*x]))[0]

    def changed(place):
        other = ids[:1].copy()
        other[0, place] = 6 + (other[0, place] - 5) % 10
        after = to_numpy(model([other, x[1]]))[0]
        return np.abs(after - before).max(axis=-1) > 1e-6

    assert changed(3)[:20].all()  # in the title
    in_poem = changed(10)
    assert not in_poem[:10].any() and in_poem[10:20].all()


@pytest.mark.slow
def test_it_trains_under_xla_and_learns_the_form(data, tmp_path):
    task = tiny(steps=200, steps_per_epoch=200, batch_size=16, jit_compile=True)
    task = task.with_settings({"learning_rate": 0.02, "ema_momentum": 0.5})
    untrained = task.evaluate(task.build(), number=3)
    figures = task.evaluate(task.train(tmp_path, progress=False), number=3)
    # with known marks, and characters that are all equally probable, it
    # would be exp(20/25 log 24) = 12.7 for lines of five, 14.8 for seven
    assert figures["perplexity"] < 18 < figures["character_perplexity"]
    assert figures["perplexity"] < untrained["perplexity"] / 2


def test_other_ids_are_rejected(data):
    task = tiny()
    (ids, segments), targets = task.examples()
    with pytest.raises(ValueError, match="below 30. Received: ids up to 30"):
        task.check_examples(((ids + 1, segments), targets), task.build())


# ---- uses


@pytest.mark.parametrize(
    "options",
    [{}, {"line_length": 5}, {"line_length": 7, "beam_size": 2}],
)
def test_every_poem_keeps_the_form_and_rhymes(run, options):
    seeds = range(1 if "beam_size" in options else 3)
    for seed in seeds:
        for poem in tiny().generate(run[1], TITLES, seed=seed, **options):
            length = options.get("line_length", len(lines_of(poem)[0]))
            assert len(lines_of(poem)[0]) == length
            assert rhymes(poem, KNOWN)


def test_without_rhyme_only_the_lines_are_kept(run):
    poems = []
    for seed in range(3):
        poems += tiny().generate(run[1], TITLES, seed=seed, rhyme=False)
    assert all(map(lines_of, poems))
    assert not all(rhymes(poem, KNOWN) for poem in poems)


def test_without_the_constraint_the_model_is_free(run):
    poems = tiny().generate(run[1], TITLES, constrained=False)
    assert not all(map(lines_of, poems))


def test_without_pypinyin_poems_do_not_rhyme_and_it_is_said(run, monkeypatch):
    def missing(characters):
        raise ImportError("Rhymes need the package `pypinyin`")

    monkeypatch.setattr(poem_writing, "rhyme_numbers", missing)
    with pytest.warns(UserWarning, match="do not rhyme. Rhymes need"):
        assert tiny().form(run[1]).rhymes is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        poems = tiny().generate(run[1], TITLES)
    assert all(map(lines_of, poems))
    assert poems == tiny().generate(run[1], TITLES, rhyme=False)
    with pytest.raises(ImportError, match="pypinyin"):
        tiny().generate(run[1], TITLES, rhyme=True)


def test_streamed_pieces_are_the_poems(run):
    pieces = []
    poems = tiny().generate(run[1], TITLES, seed=1, stream=pieces.append)
    assert ["".join(x) for x in zip(*pieces, strict=True)] == poems
    assert poems == tiny().generate(run[1], TITLES, seed=1)


def test_samples_are_poems_with_titles(run, monkeypatch):
    monkeypatch.setattr(poem_writing, "TITLES", ("天", "地"))
    samples = tiny().sample(run[1], 3, seed=2)
    poems = tiny().generate(run[1], ["天", "地", "天"], seed=2)
    assert samples == [
        f"《{title}》{poem}"
        for title, poem in zip("天地天", poems, strict=True)
    ]
    assert len({*samples}) == 3


def test_evaluation_compares_free_and_constrained_poems(run, data):
    task, model = tiny(), run[1]
    figures = task.evaluate(model)
    assert figures["form_share"] == figures["rhyme_share"] == 1
    assert figures["form_share_unconstrained"] < 1
    assert figures["form_share_of_real"] == 1
    assert 0 < figures["rhyme_share_of_real"] < 1
    assert figures["copied_line_share_of_real"] == 0
    tokenizer = task.tokenizer(model)
    marks = tokenizer.tokens_to_ids([COMMA, STOP, END])
    assert min(marks) > 1  # none of them is unknown
    held_out = task.encoded(tokenizer, task.pairs("test"))
    found = perplexities(model, held_out, marks, 2)
    assert found == {name: pytest.approx(figures[name]) for name in found}


@pytest.mark.parametrize(
    "options, match",
    [
        ({"line_length": 6}, "Received: line_length=6"),
        ({"rhyme": "no"}, "Received: rhyme='no'"),
        ({"constrained": 1}, "Received: constrained=1"),
        ({"constrained": False, "rhyme": True}, "rhyme=True"),
        ({"constrained": False, "line_length": 5}, "line_length=5"),
    ],
)
def test_bad_options_are_rejected(run, options, match):
    with pytest.raises(ValueError, match=match):
        tiny().generate(run[1], TITLES, **options)


@pytest.mark.parametrize(
    "field, value",
    [
        ("hidden_size", 0),
        ("num_hidden_layers", 1.5),
        ("dropout", 1),
        ("title_length", 0),
        ("min_count", 0),
        ("halves", "yes"),
        ("ema_momentum", -0.1),
        ("hidden_size", 18),  # 9 features a head
    ],
)
def test_bad_settings_are_refused_at_once(field, value):
    with pytest.raises(ValueError, match=f"Received: {field}={value!r}"):
        tiny(**{field: value})


# ---- export

SCRIPT = """
import sys
import tensorflow as tf
poet = tf.saved_model.load(sys.argv[1])
title = tf.strings.unicode_decode(sys.argv[2:], "UTF-8").to_tensor()
ids = poet.encode(title)
made = poet.decode(poet.generate(ids, 0 * ids, 2, 33))
poems = tf.ragged.boolean_mask(made, made > 0)
for poem in tf.strings.unicode_encode(poems, "UTF-8").numpy():
    sys.stdout.buffer.write(poem + b"\\n")
assert "su_models" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="exports from TensorFlow"
)
def test_the_export_writes_the_same_with_tensorflow_alone(run, tmp_path):
    task, model = tiny(), run[1]
    export_saved_model(model, tmp_path / "m", task.endpoints(model))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "m"), *TITLES],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode("utf-8").splitlines()
    assert lines == task.generate(model, TITLES, beam_size=2)


def test_prompts_are_those_of_generate(run):
    """The text is what `generate` returns for the ids of the titles."""
    task, model = tiny(), run[1]
    tokenizer = task.tokenizer(model)
    ids, segments = task.prompts(tokenizer, TITLES)
    made = generate(
        model,
        ids,
        segments,
        max_new_tokens=33,
        top_p=0.9,
        seed=7,
        end_id=tokenizer.token_end_id,
    )
    poems = task.generate(model, TITLES, constrained=False, seed=7)
    assert poems == [tokenizer.decode(row) for row in made.tolist()]
