"""The benchmark of the lazy optimizer, in its smallest form."""

import json

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()
PEERS = {
    "LazyOptimizer(Adam), XLA",
    "LazyOptimizer(Adam)",
    "Adam, XLA",
    "SGD, XLA",
    "SGD",
    "SparseAdam, PyTorch",
}


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("torch", reason="peer: torch")
    from benchmarks import lazy_optimizer

    return lazy_optimizer


def test_all_peers_are_measured(benchmark, tmp_path, capsys):
    if BACKEND != "tensorflow":
        pytest.skip("the benchmark runs on tensorflow")
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path)])
    result = json.loads(path.read_text())[BACKEND]
    assert {*result["sizes"]} == {"300", "700"}
    for size in result["sizes"].values():
        assert {*size["summary"]} == {*size["seconds"]} == PEERS
        assert size["summary"][benchmark.OURS]["ratio"] == 1
        assert all(r["median_ms"] > 0 for r in size["summary"].values())
        assert 0 <= size["largest_difference"] <= benchmark.TOLERANCE
        assert 1 < size["different_ids"] < 64
    assert {*result["exponents"]} == PEERS
    assert {*result["memory"]["tables"]} == {*benchmark.COMPILED}
    shown = capsys.readouterr().out
    assert all(peer in shown for peer in PEERS)


@pytest.mark.parametrize("draw", ["zipf", "spread", "block"])
def test_ids_are_as_different_as_named(benchmark, draw):
    one, two = benchmark.batches(1000, 64, 2, draw)
    for ids in one, two:
        assert ids.shape == (64,) and ids.dtype == "int32"
        assert ids.min() >= 0 and ids.max() < 1000
        assert (len(np.unique(ids)) == 64) == (draw != "zipf")
    assert ({*one} == {*two}) == (draw == "block")
    assert (np.ptp(one) == 63) == (draw == "block")


def test_other_tables_end_the_run(benchmark):
    table = benchmark.start(5)
    moved = table + 0.1
    assert benchmark.largest_difference(moved, moved) == 0
    for ours in moved + 1e-4, np.full_like(moved, np.nan):
        with pytest.raises(SystemExit, match="give other tables"):
            benchmark.largest_difference(ours, moved)
    with pytest.raises(SystemExit, match="moved by"):
        benchmark.largest_difference(table, table)


def test_exponents_are_slopes(benchmark):
    sizes = {
        n: {"summary": {"a": {"median_ms": 3 * n}, "b": {"median_ms": 7.0}}}
        for n in (10, 100, 1000)
    }
    found = benchmark.exponents(sizes)
    assert found == {"a": pytest.approx(1), "b": pytest.approx(0)}


def test_frequent_ids_come_often_and_stand_anywhere(benchmark):
    first, second = benchmark.batches(1000, 512, 2)
    assert first.shape == (512,) and (first != second).any()
    values, counts = np.unique(
        np.concatenate([first, second]), return_counts=True
    )
    assert counts.max() > 50 and values[counts.argmax()] != 0
    assert len(values) > 200
