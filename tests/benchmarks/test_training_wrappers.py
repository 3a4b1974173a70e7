"""The benchmark of the training wrappers, in its smallest form."""

import json

import keras
import pytest

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()


@pytest.fixture(scope="module")
def benchmark():
    from benchmarks import training_wrappers

    return training_wrappers


@pytest.mark.skipif(BACKEND == "torch", reason="the benchmark is of XLA")
def test_wrappers_are_measured_beside_the_plain_step(
    benchmark, tmp_path, capsys
):
    path = tmp_path / "results.json"
    words = ["--smoke", "--json", str(path), "--networks", "convolutions"]
    benchmark.main([*words, "--wrappers", "FGM", "VAT"])
    result = json.loads(path.read_text())[BACKEND]
    network = result["networks"]["convolutions"]
    assert {*network["summary"]} == {"plain", "FGM", "VAT"}
    assert network["summary"]["plain"]["ratio"] == 1
    assert all(r["median_ms"] > 0 for r in network["summary"].values())
    assert all(len(times) == 1 for times in network["seconds"].values())
    shown = capsys.readouterr().out
    assert all(name in shown for name in network["summary"])


def test_batches_are_alike_but_for_their_third_part(benchmark):
    x, y, u = benchmark.batch_of("VAT", 3)
    same = benchmark.batch_of("FGM", 3)
    assert len(same) == 2 and (same[0] == x).all() and (same[1] == y).all()
    assert u.shape == x.shape and (u != x).any()


@pytest.mark.parametrize("name", ["transformer", "convolutions"])
def test_every_wrapper_takes_every_network(benchmark, name):
    model = benchmark.NETWORKS[name]()
    for wrap in benchmark.WRAPPERS.values():
        net = wrap(model)
        assert net is model or net.model is model
