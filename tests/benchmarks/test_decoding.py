"""The benchmark of generation, in its smallest form."""

import json
import os

import keras
import pytest

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()
compiling = pytest.mark.skipif(
    BACKEND == "torch", reason="PyTorch has no loop in one program"
)


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("transformers", reason="peer: transformers")
    from benchmarks import decoding

    return decoding


@compiling
def test_all_peers_are_measured(benchmark, tmp_path, capsys):
    peers = ["floor", "transformers"]
    if BACKEND == "tensorflow":  # one backend is enough
        if not os.environ.get("SU_MODELS_LEGACY_PYTHON"):
            pytest.skip("peer: SU_MODELS_LEGACY_PYTHON names no interpreter")
        peers.append("bert4keras")
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path), "--peers", *peers])
    result = json.loads(path.read_text())[BACKEND]
    for name in benchmark.MODELS:
        expected = {p for p in benchmark.PEERS[name] if p in peers}
        assert {*result[name]} == {*benchmark.LOADS}
        for found in result[name].values():
            summary = found["summary"]
            parties = {party.split(",")[0] for party in summary}
            assert parties == {"su_models", *expected}
            assert summary["su_models, one program"]["ratio"] == 1
            assert all(row["median_ms"] > 0 for row in summary.values())
            assert len(found["claims"]) == len(expected)
    shown = capsys.readouterr().out
    assert "su_models / floor" in shown


@compiling
def test_the_growth_is_fitted(benchmark, tmp_path):
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--growth", "--json", str(path)])
    result = json.loads(path.read_text())[f"{BACKEND}, growth"]["growth"]
    assert [*result["milliseconds"]] == ["16", "32"]
    lost = min(result["milliseconds"].values()) <= 0
    assert (result["exponent"] is None) == lost


@compiling
def test_the_exponent_of_the_growth(benchmark, monkeypatch, tmp_path):
    def times(peers, rounds, seed):
        return {(n, k): [1.0 + 0.1 * (k - 1) * n**2] for n, k in peers}

    monkeypatch.setattr(benchmark, "alternate", times)
    monkeypatch.setattr(benchmark, "generate", lambda *a, **k: None)
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--growth", "--json", str(path)])
    result = json.loads(path.read_text())[f"{BACKEND}, growth"]["growth"]
    assert result["exponent"] == pytest.approx(2.0)
    assert result["milliseconds"]["32"] == pytest.approx(1e3 * 0.1 * 32**2)


class _Fixed:
    """A decoder that generates what it was given."""

    forms = ("one",)

    def __init__(self, ids):
        self.ids = ids

    def generate(self, form, samples, beams):
        return self.ids[:samples]


def test_other_ids_end_the_run(benchmark):
    ids = [[1, 2], [3, 4]]
    same = {"su_models": _Fixed(ids), "bert4keras": _Fixed([*ids, [9, 9]])}
    benchmark.check_same(same, 2, 1)
    other = {"su_models": _Fixed(ids), "transformers": _Fixed([[1, 2], [3, 5]])}
    with pytest.raises(SystemExit, match="transformers, one, generates other"):
        benchmark.check_same(other, 2, 1)


def test_bert4keras_takes_one_prompt_of_many(benchmark):
    row = {"median_ms": 2.0}
    summary = {
        "su_models, one program": row,
        "bert4keras, predict": {"median_ms": 50.0},
        "bert4keras, tf.function": {"median_ms": 10.0},
        "floor, a": {"median_ms": 1.0},
        "floor, b": {"median_ms": 4.0},
    }
    assert benchmark.claims(summary) == {
        "su_models / floor": 2.0,
        "bert4keras, predict / su_models": 25.0,
    }
    assert [benchmark._share(p, 16) for p in ("bert4keras", "su_models")] == [
        1,
        16,
    ]


def test_pytorch_is_refused(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "BACKEND", "torch")
    with pytest.raises(SystemExit, match="Received: torch"):
        benchmark.main(["--smoke"])
