"""The benchmark of sparse attention, in its smallest form."""

import json
import pathlib

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="the benchmark runs on tensorflow"
)


@pytest.fixture(scope="module")
def benchmark():
    for peer in "torch", "local_attention":
        pytest.importorskip(peer, reason=f"peer: {peer}")
    from benchmarks import sparse_attention

    return sparse_attention


@only_tensorflow
@pytest.mark.slow
def test_all_peers_agree_and_are_measured(benchmark, tmp_path, capsys):
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path)])
    result = json.loads(path.read_text())[BACKEND]
    assert 0 < result["largest_difference"] <= benchmark.TOLERANCE
    forward = result["forward"]["lengths"]["512"]["summary"]
    both = result["forward and backward"]["lengths"]["512"]["summary"]
    alone = {benchmark.FLEX, benchmark.LAID, benchmark.COMPILED}
    assert {*forward} - {*both} == alone
    assert forward[benchmark.LOCAL]["ratio"] == 1
    for row in [*forward.values(), *both.values()]:
        assert row["median_ms"] > 0
    peaks = result["memory"]["forward"]
    assert peaks[benchmark.DENSE] > 0 and peaks[benchmark.FLEX] > 0
    shown = capsys.readouterr().out
    assert all(peer in shown for peer in forward)


@only_tensorflow
def test_ours_and_the_dense_form_agree(benchmark):
    for name in benchmark.LOCAL, benchmark.DENSE, benchmark.SDPA:
        (y,) = map(np.asarray, benchmark.make(name, 300, backward=False)())
        assert y.shape == (1, 300, benchmark.HEADS, benchmark.DIM)
        if name == benchmark.LOCAL:
            first = y
        np.testing.assert_allclose(y, first, atol=1e-5)


def test_another_result_ends_the_run(benchmark, monkeypatch):
    def make(name, n, backward):
        return lambda: [np.ones(3) + 1e-3 * (name == benchmark.SDPA)]

    monkeypatch.setattr(benchmark, "make", make)
    with pytest.raises(SystemExit, match="'PyTorch SDPA, mask' computes some"):
        benchmark.check(300)


def test_the_exponent_is_that_of_the_growth(benchmark):
    def at(n):
        return {"summary": {"ours": {"median_ms": 3e-4 * n**1.25}}}

    found = {n: at(n) for n in (1024, 2048, 4096, 8192)}
    found[1024]["summary"]["ours"]["median_ms"] = 5.0  # too short to count
    assert benchmark.exponent(found, "ours") == pytest.approx(1.25)
    assert benchmark.exponent(found, "absent") is None


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/clear_refs").exists(),
    reason="the peak of memory is read from Linux' /proc",
)
def test_the_peak_is_what_the_call_held(benchmark, monkeypatch):
    def make(name, n, backward):
        return lambda: np.ones(n * 2**17).sum()  # n MB

    monkeypatch.setattr(benchmark, "make", make)
    assert 290 < benchmark.peak_memory("any", 300, 0) < 320
