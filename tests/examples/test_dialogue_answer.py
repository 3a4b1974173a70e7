"""Article: https://kexue.fm/archives/6933

The parts of the example: the baseline, the table, the pictures.
"""

import json

import numpy as np
import pytest

from su_models.runs import read_history
from su_models.tasks.dialogues import load_dialogues
from tests.examples.test_ddpm_digits import example
from tests.tasks.dialogues import tiny, use

ANSWER = example("dialogue_answer")
TRAIN = [
    ("男：今天下雨了。", "天气怎么样?", "下雨", ["下雨", "晴天"]),
    ("女：我在银行工作。", "女的在哪工作?", "银行", ["银行", "学校"]),
]


@pytest.fixture
def data(monkeypatch):
    use(monkeypatch)
    yield
    load_dialogues.cache_clear()


def test_the_nearest_question_s_answer_is_taken():
    test = [
        ("女：昨天晴天。", "天气怎么样?", "晴天", ["刮风", "晴天"]),
        ("男：我在银行工作。", "男的在哪工作?", "银行", ["学校", "银行"]),
        ("男：我在家。", "男的在哪?", "家里", ["医院", "我在家"]),
    ]
    figures, answers = ANSWER.retrieval(TRAIN, test)
    assert answers[:2] == ["下雨", "银行"]
    assert figures["exact_match"] == pytest.approx(1 / 3)
    assert figures["choice_accuracy"] == pytest.approx(2 / 3)


def test_text_and_table():
    rows = [row for row in TRAIN]
    text = ANSWER.as_text(rows, {"a model": ["雨", "校"], "b": ["晴", ""]})
    first, second = text.split("\n\n")
    assert first.split("\n") == [
        "男：今天下雨了。",
        "问：天气怎么样?",
        "right    下雨",
        "a model  雨",
        "b        晴",
    ]
    assert "银行" in second
    found = {"perplexity": 12.34, "choice_accuracy": 0.5}
    head, row, other = ANSWER.table({"a": found, "b": {"exact_match": 0.011}})
    assert row.split() == ["a", "12.3", "-", "-", "-", "50.0"]
    assert other.split() == ["b", "-", "1.1", "-", "-", "-"]
    assert head.split()[0] == "perplexity" and len(head) == len(row)


def test_the_sizes_are_those_of_the_encoder(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1}
    config = {**sizes, "vocab_size": 9, "hidden_act": "relu"}
    (tmp_path / "bert_config.json").write_text(json.dumps(config))
    assert ANSWER.sizes_of(tmp_path) == sizes
    (tmp_path / "bert_config.json").write_text('{"hidden_size": 8}')
    with pytest.raises(ValueError, match="with hidden_size$"):
        ANSWER.sizes_of(tmp_path)


def test_an_encoder_that_is_not_there_is_an_error(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ([], ["--smoke"]):
        with pytest.raises(FileNotFoundError, match=r"none/bert_config\.json"):
            ANSWER.main([*words, "--encoder", "none"])


@pytest.mark.slow
def test_the_whole_on_invented_dialogues(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ANSWER, "TASK", tiny())
    ANSWER.main(["--smoke"])
    out = capsys.readouterr().out
    assert "no trained encoder" in out and "frequencies" in out
    folder = tmp_path / "runs" / "smoke-dialogue-answer"
    figures = json.loads((folder / "comparison.json").read_text("utf-8"))
    assert [*figures] == ["nearest question", "from scratch", "frequencies"]
    assert np.isfinite(figures["frequencies"]["perplexity"])
    assert (folder / "comparison.png").read_bytes()[1:4] == b"PNG"
    assert (folder / "answers.txt").read_text("utf-8").count("问：") == 20
    assert len(read_history(folder)["loss"]) == 2
