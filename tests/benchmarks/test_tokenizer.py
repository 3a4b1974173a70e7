"""The benchmark of the tokenizer, in its smallest form."""

import json
import os

import keras
import pytest

from su_models.text import Tokenizer

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("tokenizers", reason="peer: tokenizers")
    from benchmarks import tokenizer

    return tokenizer


def test_all_peers_are_measured(benchmark, tmp_path, capsys):
    if keras.config.backend() != "tensorflow":
        pytest.skip("no tensors: one backend is enough")
    if not os.environ.get("SU_MODELS_LEGACY_PYTHON"):
        pytest.skip("peer: SU_MODELS_LEGACY_PYTHON names no interpreter")
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path)])
    result = json.loads(path.read_text())["tokenizer"]
    peers = {
        benchmark.BATCH,
        benchmark.ONE,
        benchmark.PEER,
        benchmark.RUST,
        benchmark.RUST_BATCH,
    }
    for name in "cased", "uncased":
        assert {*result[name]["summary"]} == {*result[name]["seconds"]} == peers
        assert result[name]["summary"][benchmark.BATCH]["ratio"] == 1
        assert result[name]["one_by_one"] > 0
    shown = capsys.readouterr().out
    assert all(peer in shown for peer in peers)


def test_other_ids_end_the_run(benchmark):
    ours = Tokenizer({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3})
    benchmark.check_same(ours, ["a", "b a"], [[1, 3, 2], [1, 0, 3, 2]])
    for ids in ([1, 0, 2], [1, 3], [1, 3, 2, 0]):
        with pytest.raises(SystemExit, match="differ. Received: text='a'"):
            benchmark.check_same(ours, ["a"], [ids])


def test_a_vocabulary_is_needed(benchmark, monkeypatch):
    monkeypatch.delenv("SU_MODELS_DATA", raising=False)
    monkeypatch.setattr(
        benchmark, "load", lambda name: {"train": {"text": ["a"]}}
    )
    with pytest.raises(SystemExit, match="Received: neither"):
        benchmark.main(["--texts", "1"])
