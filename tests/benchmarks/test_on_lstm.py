"""The benchmark of ON-LSTM, in its smallest form."""

import json

import keras
import numpy as np
import pytest

from su_models.layers import ONLSTM
from tests.contract import normal, to_numpy

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("torch", reason="peer: PyTorch")
    from benchmarks import on_lstm

    return on_lstm


def test_all_peers_learn_the_same_and_are_measured(benchmark, tmp_path, capsys):
    if keras.config.backend() == "torch":
        pytest.skip("the benchmark runs on tensorflow and jax")
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path)])
    result = json.loads(path.read_text())[keras.config.backend()]["small"]
    peers = {benchmark.OURS, benchmark.SAME, benchmark.LOOP, "keras LSTM"}
    assert {*result["seconds"]} == peers
    assert 0 < result["largest_difference"] <= benchmark.TOLERANCE
    rows = result["summary"]
    assert rows[benchmark.OURS]["ratio"] == 1
    assert all(row["median_ms"] > 0 for row in rows.values())
    shown = capsys.readouterr().out
    assert all(peer in shown for peer in peers)


def test_the_loop_is_the_layer(benchmark):
    import torch

    layer = ONLSTM(6, 3, return_sequences=True, bias_initializer="normal")
    x = normal(2, 7, 5)
    weights = []
    ours = to_numpy(layer(x))
    for w in layer.get_weights():
        weights.append(torch.tensor(w))
    theirs = benchmark.torch_on_lstm(torch.tensor(x), *weights, 3)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def test_other_losses_end_the_run(benchmark):
    right = [1.0, 0.9, 0.8]
    losses = dict.fromkeys((benchmark.OURS, benchmark.SAME), right)
    losses[benchmark.LOOP] = [1.0, 0.9, 0.8 * (1 + 5e-5)]
    assert benchmark.largest_difference(losses) == pytest.approx(5e-5)
    losses[benchmark.LOOP] = [1.0, 0.9, 0.81]
    with pytest.raises(SystemExit, match="'PyTorch loop' learns otherwise"):
        benchmark.largest_difference(losses)


@pytest.mark.parametrize("losses", [[1.0, 0.9, 0.9], [1.0, np.nan, 0.8]])
def test_a_run_that_learns_nothing_ends(benchmark, losses):
    with pytest.raises(SystemExit, match="Nothing is learned"):
        benchmark.largest_difference({benchmark.OURS: losses})
