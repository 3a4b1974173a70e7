"""Article: https://kexue.fm/archives/6933"""

import json

import keras
import numpy as np
import pytest

from su_models.checkpoints import save_checkpoint
from su_models.models import build_transformer_model
from su_models.runs import RunFolder
from su_models.tasks import dialogue_answering, load_task
from su_models.tasks.dialogue_answering import character_f1, exact_match
from su_models.tasks.dialogues import load_dialogues
from tests.contract import to_numpy
from tests.runs.line import assert_equal, names
from tests.tasks.dialogues import tiny, use

TEXTS = ["男：我去店。|女：我去家？|女的去哪?", "男：我去3楼。\n女的去哪?"]


@pytest.fixture
def data(monkeypatch):
    use(monkeypatch)
    yield
    load_dialogues.cache_clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run and its model, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        use(patch)
        model = tiny().train(folder, progress=False)
    load_dialogues.cache_clear()
    return folder, model


# ---- training


def test_a_restored_run_answers_the_same_without_the_data(run, monkeypatch):
    folder, model = run
    assert names(folder) == ["config.json", "history.csv", "model.keras"]
    monkeypatch.setattr(dialogue_answering, "load_dialogues", None)
    task, again = load_task(folder), RunFolder(folder).load_model()
    assert task == tiny()
    assert_equal(again, model)
    made = task.generate(again, TEXTS, seed=3, top_p=0.9)
    assert made == tiny().generate(model, TEXTS, seed=3, top_p=0.9)


def test_a_row_is_a_question_its_dialogue_and_the_answer(data):
    task = tiny()
    (ids, segments), targets = task.examples()
    tokens = task.vocabulary()
    assert ids.shape == segments.shape == targets.shape == (40, 36)
    rows = zip(task.rows(), ids, segments, targets, strict=True)
    for (context, question, answer, _), row, segment, target in rows:
        shown = [tokens[i] for i in row if i]
        text = "".join(shown).replace("##", "")
        context = context.replace("\n", "")
        assert text == f"[CLS]{question}[SEP]{context}[SEP]{answer}[SEP]"
        n = len(shown) - len(answer) - 1
        assert segment.tolist() == [
            int(n <= i < len(shown)) for i in range(len(row))
        ]
        assert target[n - 1 : len(shown) - 1].tolist() == [
            tokens.index(c) for c in (*answer, "[SEP]")
        ]
        assert target.astype(bool).sum() == len(answer) + 1


def test_long_dialogues_are_cut_but_not_in_training(data):
    task = tiny(prompt_length=16)
    tokenizer = task.tokenizer(task.build())
    long, short = "男：我去店，女：我去家，我去楼", "男：去店"
    rows = [(long, "去哪?", "家"), (short, "去哪?", "店")]
    (ids, _), _ = task.encoded(tokenizer, rows)
    assert len(ids) == 2 and ids.shape[1] == 20
    shown = tokenizer.ids_to_tokens([i for i in ids[0] if i])
    assert "".join(shown) == f"[CLS]去哪?[SEP]{long[:10]}[SEP]家[SEP]"
    (kept, _), _ = task.encoded(tokenizer, rows, fitting=True)
    assert kept.tolist() == ids[1:].tolist()
    answers = [(short, "去哪?", "家" * n) for n in (3, 4)]
    assert len(task.encoded(tokenizer, answers, fitting=True)[1]) == 1
    (ids, segments), _ = task.encoded(tokenizer, answers)
    assert len(ids) == 2 and segments[1].sum() == 5
    with pytest.raises(ValueError, match="No row fits.*prompt_length=16"):
        task.encoded(tokenizer, rows[:1], fitting=True)


def test_a_long_question_takes_half_of_the_prompt(data):
    task = tiny(prompt_length=16)
    ids, segments = task.prompts(
        task.tokenizer(task.build()), ["男：我去店。|" + "去哪" * 20]
    )
    assert ids.shape == (1, 15) and not segments.any()
    assert ids[0, 0] == 2 and [*np.flatnonzero(ids[0] == 3)] == [7, 14]


@pytest.mark.slow
def test_it_learns_to_copy_the_place_under_xla(data, tmp_path):
    task = tiny(
        steps=400,
        steps_per_epoch=200,
        batch_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        dropout=0.0,
        jit_compile=True,
    ).with_settings({"learning_rate": 0.01, "ema_momentum": 0.9})
    figures = task.evaluate(task.train(tmp_path, progress=False))
    assert figures["exact_match"] > 0.8
    assert figures["choice_accuracy"] > 0.8
    assert 1 <= figures["perplexity"] < 1.5


# ---- a trained encoder


@pytest.fixture(params=["encoder.ckpt", "bert_model.ckpt"])
def encoder(request, tmp_path):
    sizes = {
        "vocab_size": 7,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "hidden_act": "relu",
        "segment_vocab_size": 0,
    }
    model = build_transformer_model(model="roformer_v2", **sizes)
    save_checkpoint(model, tmp_path / request.param, "roformer_v2")
    (tmp_path / "bert_config.json").write_text(json.dumps(sizes))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "去", "家"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    return tmp_path, model, tokens


def test_the_weights_and_the_vocabulary_are_the_encoder_s(encoder, data):
    folder, trained, tokens = encoder
    task = tiny(encoder=str(folder))
    assert task.vocabulary() == tokens
    model = task.build()
    for layer in trained.layers:
        same = model.get_layer(layer.name).get_weights()
        for a, b in zip(layer.get_weights(), same, strict=True):
            np.testing.assert_array_equal(a, b)
    # without anything of segment 1, it is the encoder but for the segments
    model.get_layer("Embedding-Segment").set_weights([np.zeros((2, 16))])
    ids = np.array([[2, 5, 6, 3]])
    hidden = to_numpy(trained(ids))
    table = trained.get_layer("Embedding-Token").get_weights()[0]
    np.testing.assert_allclose(
        to_numpy(model([ids, 0 * ids])), hidden @ table.T, atol=1e-4
    )
    assert task.examples()[0][0].max() < 7


def test_an_encoder_of_other_sizes_is_refused(encoder):
    with pytest.raises(ValueError, match="sizes.*'hidden_size': 16"):
        tiny(encoder=str(encoder[0]), hidden_size=32).build()
    with pytest.raises(FileNotFoundError):
        tiny(encoder=str(encoder[0] / "none")).build()
    with open(encoder[0] / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("店\n")
    with pytest.raises(ValueError, match="'vocab_size': 8.*'vocab_size': 7"):
        tiny(encoder=str(encoder[0])).build()


# ---- uses


def test_answers_are_the_most_probable_tokens(run):
    task, model = tiny(), run[1]
    tokenizer = task.tokenizer(model)
    for text, answer in zip(TEXTS, task.generate(model, TEXTS), strict=True):
        ids = task.prompts(tokenizer, [text])[0][0].tolist()
        n, made = len(ids), []
        while len(made) < 4 and 3 not in made:
            segments = [0] * n + [1] * len(made)
            x = [np.array([ids + made]), np.array([segments])]
            made.append(int(to_numpy(model(x))[0, -1].argmax()))
        assert answer == tokenizer.decode(made)
    assert task.generate(model, TEXTS, seed=5) == task.generate(model, TEXTS)
    streamed = []
    task.generate(model, TEXTS, stream=streamed.append)
    whole = ["".join(parts) for parts in zip(*streamed, strict=True)]
    assert whole == task.generate(model, TEXTS)


def test_sampled_answers_depend_on_the_seed(run):
    made = {
        tuple(tiny().generate(run[1], TEXTS, temperature=5.0, seed=seed))
        for seed in range(4)
    }
    assert len(made) > 1


def test_samples_are_held_out_dialogues(run, data):
    (sample,) = tiny().sample(run[1], 1)
    context, question, *_ = load_dialogues()["test"][0]
    text = f"{context}\n{question}"
    assert sample == f"{text}\n→ {tiny().generate(run[1], [text])[0]}"


def test_evaluation_is_that_of_a_loop(run, data):
    task, model = tiny(), run[1]
    figures = task.evaluate(model, number=6)
    tokenizer = task.tokenizer(model)
    losses, chosen = [], []
    for context, question, answer, choices in task.rows("test")[:6]:
        means = []
        for text in (answer, *choices):
            row = (context, question, text)
            (ids, segments), targets = task.encoded(tokenizer, [row])
            logits = to_numpy(model([ids, segments]))[0].astype("float64")
            logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
            places = np.flatnonzero(targets[0])
            found = [-logits[t, targets[0, t]] for t in places]
            means.append(np.mean(found))
            if len(means) == 1:
                losses += found
        chosen.append(choices[int(np.argmin(means[1:]))] == answer)
    assert figures["perplexity"] == pytest.approx(
        np.exp(np.mean(losses)), rel=1e-4
    )
    assert figures["choice_accuracy"] == np.mean(chosen)
    assert {*figures} == {
        *("perplexity", "exact_match", "exact_match_beams"),
        *("character_f1", "choice_accuracy"),
    }


def test_long_choices_are_judged_by_the_mean_of_their_tokens(monkeypatch):
    task = tiny()
    sums, counts = np.array([4.0, 3.0, 1.0, 9.0]), np.array([4, 1, 1, 3])
    monkeypatch.setattr(
        type(task), "_losses", lambda self, model, rows: (sums, counts)
    )
    rows = [("", "", "", ["long", "short"]), ("", "", "", ["short", "long"])]
    assert task._choose(None, rows) == ["long", "short"]


def test_scores_of_answers():
    assert exact_match(["去 家", "店", ""], ["去家", "家", "家"]) == 1 / 3
    assert exact_match(["A？"], ["a?"]) == 1
    # 2 of 3 and 2 characters; nothing; nothing
    f1 = character_f1(["去去家", "", "店"], ["去家", "家", "家"])
    assert f1 == pytest.approx((2 * 2 / 5) / 3)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="endpoints need the tensorflow backend",
)
def test_the_endpoint_generates_the_answers(run):
    task, model = tiny(), run[1]
    function = task.endpoints(model)["generate"]
    specs = function.input_signature
    assert [x.name for x in specs][:2] == ["token_ids", "segment_ids"]
    tokenizer = task.tokenizer(model)
    ids, segments = task.prompts(tokenizer, TEXTS)
    made = to_numpy(function(ids, segments, np.int32(1), np.int32(4)))
    assert [tokenizer.decode(row) for row in made] == task.generate(
        model, TEXTS
    )


@pytest.mark.parametrize(
    "options, match",
    [
        ({"max_new_tokens": 5}, "answers in training, 4.*max_new_tokens=5"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
    ],
)
def test_bad_options_are_rejected(run, options, match):
    with pytest.raises(ValueError, match=match):
        tiny().generate(run[1], TEXTS, **options)


def test_a_text_without_a_question_is_rejected(run):
    with pytest.raises(ValueError, match="last line"):
        tiny().generate(run[1], ["男：我去店。"])


@pytest.mark.parametrize(
    "field, value",
    [
        ("prompt_length", 7),
        ("answer_length", 0),
        ("mixed", 1),
        ("encoder", None),
    ],
)
def test_bad_settings_are_refused_at_once(field, value):
    with pytest.raises(ValueError, match=f"Received: {field}={value!r}"):
        tiny(**{field: value})
