"""The benchmark of the samplers, in its smallest form."""

import json

import keras
import numpy as np
import pytest

from su_models.models import build_ddpm

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()
PEERS = {
    "tensorflow": {
        "loop over predict",
        "loop over predict, XLA",
        "loop over tf.function",
        "loop over tf.function, XLA",
    },
    "jax": {"loop over predict", "loop over jax.jit"},
}


@pytest.fixture(scope="module")
def benchmark():
    for peer in "torch", "diffusers":
        pytest.importorskip(peer, reason=f"peer: {peer}")
    from benchmarks import ddpm_sampling

    return ddpm_sampling


def test_all_peers_draw_the_same_and_are_measured(benchmark, tmp_path, capsys):
    if BACKEND == "torch":
        pytest.skip("the benchmark runs on tensorflow and jax")
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path)])
    result = json.loads(path.read_text())[BACKEND]
    peers = {benchmark.OURS, "diffusers, PyTorch", *PEERS[BACKEND]}
    assert {*result["digits"]["seconds"]} == peers
    peers.add("diffusers, PyTorch channels_last")
    assert {*result["mnist"]["seconds"]} == peers
    for name in "digits", "mnist":
        assert 0 < result[name]["largest_difference"] <= benchmark.TOLERANCE
        rows = result[name]["summary"]
        assert rows[benchmark.OURS]["ratio"] == 1
        assert all(row["median_ms"] > 0 for row in rows.values())
    assert result["train"]["median_ms"] > 0
    shown = capsys.readouterr().out
    assert all(peer in shown for peer in peers)


def test_other_images_end_the_run(benchmark):
    ours = np.linspace(-2, 2, 12).reshape(3, 2, 2)
    images = {benchmark.OURS: ours, "peer": ours + 1e-4}
    assert benchmark.largest_difference(images) == pytest.approx(5e-5)
    for wrong in ours + 1e-2, np.full_like(ours, np.nan):
        with pytest.raises(SystemExit, match="'peer' draws other images"):
            benchmark.largest_difference({**images, "peer": wrong})


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_empty_images_end_the_run(benchmark, empty):
    images = {benchmark.OURS: np.full((3, 2, 2), empty)}
    with pytest.raises(SystemExit, match="No images to compare"):
        benchmark.largest_difference(images)


def test_no_layer_is_left_at_zero(benchmark):
    net = build_ddpm("digits", widths=(16,), blocks=1)
    assert any(not np.asarray(w).any() for w in net.get_weights())
    benchmark.randomize(net)
    for v in net.trainable_variables:
        assert np.abs(keras.ops.convert_to_numpy(v)).mean() > 1e-2
