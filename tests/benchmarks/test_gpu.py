"""The benchmark of a GPU, in its smallest form."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from benchmarks import gpu
from benchmarks.common.budget import Budget

ROOT = pathlib.Path(__file__).parents[2]
only_jax = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="the benchmark runs on jax"
)

# first without --smoke: a machine without a GPU is rejected
COMMAND = """
import sys
from benchmarks import gpu
import jax

if jax.devices()[0].platform == "cpu":
    try:
        gpu.main(["--sections", "decode"])
    except SystemExit as end:
        print(end)
gpu.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What a smoke run writes and prints, in a process with JAX."""
    pytest.importorskip("jax", reason="the benchmark runs on jax")
    path = tmp_path_factory.mktemp("gpu") / "results.json"
    peaks = ["--peak-flops", "1e13", "--peak-bandwidth", "1e11"]
    words = ["--smoke", "--json", str(path), *peaks]
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_backend_optimization_level=0 "
            "--xla_cpu_use_fusion_emitters=false",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(path.read_text())["jax"], run.stdout


def numbers(found):
    """Yields all numbers of nested results."""
    values = found.values() if isinstance(found, dict) else found
    for value in values:
        if isinstance(value, (dict, list)):
            yield from numbers(value)
        elif not isinstance(value, str):
            yield value


@pytest.mark.parity
def test_each_section_is_measured(outcome):
    result, _ = outcome
    sections = result["sections"]
    assert {*sections} == {*gpu.SETTINGS}
    for found in sections.values():
        assert {"failed", "skipped"}.isdisjoint(
            key for part in found.values() for key in part
        )
    assert all(number > 0 for number in numbers(sections))
    assert result["date"] and result["jax"] and result["keras"]
    assert result["accelerator"]["peak_flops"] == 1e13
    assert result["accelerator"]["peak_bandwidth"] == 1e11


@pytest.mark.parity
def test_training_has_the_share_of_the_peak(outcome):
    for name, tokens in (("train_base", 14), ("train_large", 15)):
        (part,) = outcome[0]["sections"][name].values()
        step = part["step"]
        rate = step["tokens_per_second"]
        assert rate == pytest.approx(1e3 * tokens / step["median_ms"])
        flops = rate * gpu.training_flops(gpu.TINY, gpu.SMOKE[name]["length"])
        assert step["flop_utilization"] == pytest.approx(flops / 1e13)


@pytest.mark.parity
def test_decoding_has_the_share_of_the_bandwidth(outcome):
    found = outcome[0]["sections"]["decode"]
    assert {*found} == {"batch 1", "batch 2"}
    for batch in (1, 2):
        step = found[f"batch {batch}"]["step"]
        seconds = step["median_ms"] / 1e3
        assert step["tokens_per_second"] == pytest.approx(batch / seconds)
        # 5 tokens of the prompt, then 5, 6 and 7: 6 on average
        read = gpu.decoding_bytes(gpu.TINY, batch, 6)
        assert step["bandwidth_share"] == pytest.approx(read / seconds / 1e11)


@pytest.mark.parity
def test_attention_has_its_peers(outcome):
    found = outcome[0]["sections"]["attention"]
    assert len(found) == 4
    for direction in (gpu.FORWARD, gpu.BACKWARD):
        short, long = (found[f"{n} tokens, {direction}"] for n in (256, 512))
        assert {gpu.OURS, gpu.WINDOWED, gpu.DENSE} <= {*short}
        assert gpu.OURS in long and gpu.DENSE not in long
        # XLA computes all pairs, so it is left out where they are too many
        assert (gpu.WINDOWED in long) is (long["implementation"] == "cudnn")
        assert 0 < short["largest_difference"] <= gpu.TOLERANCE
        assert short[gpu.OURS]["ratio"] == 1


@pytest.mark.parity
def test_all_is_printed(outcome):
    result, shown = outcome
    for name, found in result["sections"].items():
        assert all(f"{name}, {part}: " in shown for part in found)
    assert "tokens per second" in shown and "bandwidth share" in shown
    assert "flop utilization" in shown and "images per second" in shown
    if result["accelerator"]["platform"] == "cpu":
        assert "only --smoke runs without one. Received: cpu" in shown


def test_other_backends_are_rejected(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(SystemExit, match="KERAS_BACKEND=jax. Received: torch"):
        gpu.main(["--smoke"])


def test_each_section_has_settings_and_a_share():
    names = {*gpu.SECTIONS}
    assert names == {*gpu.SETTINGS} == {*gpu.SMOKE} == {*gpu.SHARES}
    assert sum(gpu.SHARES.values()) == gpu.SECONDS < 240
    for name, setting in gpu.SETTINGS.items():
        assert {*setting} == {*gpu.SMOKE[name]}


def test_large_is_large():
    assert gpu.LARGE["num_hidden_layers"] * gpu.LARGE["hidden_size"] == 24576
    for sizes in (gpu.BASE, gpu.LARGE):
        assert sizes["hidden_size"] == 64 * sizes["num_attention_heads"]
        assert sizes["intermediate_size"] == 4 * sizes["hidden_size"]


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_models_compute_in_bfloat16(dtype):
    before = keras.config.dtype_policy()
    model = gpu.language_model(gpu.TINY, dtype)
    wanted = "bfloat16" if dtype == "bfloat16" else "float32"
    assert {v.dtype for v in model.weights} == {wanted}
    assert model.output.dtype == "bfloat16"
    assert keras.config.dtype_policy() == before


def test_times_are_those_of_a_step():
    found = gpu.timed(9.0, [2.0, 8.0, 4.0], 4, tokens=6, flops=100)
    assert found == {
        "first_run_seconds": 9.0,
        "median_ms": 1000.0,
        "tokens_per_second": 6.0,
        "flops_per_second": 100.0,
        "seconds": [0.5, 2.0, 1.0],
    }


def test_a_line_leaves_out_what_is_not_known():
    row = {"median_ms": 2.0, "flop_utilization": None, "seconds": [1.0]}
    assert gpu.lines({"step": row}) == ["step: 2.000 ms"]
    row["flop_utilization"] = 0.25
    assert gpu.lines({"step": row}) == ["step: 2.000 ms, flop utilization 0.25"]
    assert gpu.lines({"failed": "why"}) == ["failed: why"]


def sections_of(monkeypatch, *measures):
    """Runs a section with these parts, whose time is over after the second."""
    ran = []

    def section(setting, run):
        for i, measure in enumerate(measures):
            yield str(i), lambda i=i, m=measure: (ran.append(i), m())[1]

    monkeypatch.setitem(gpu.SECTIONS, "decode", section)
    budget = Budget(10, {"decode": 1}, lambda: 0 if len(ran) < 2 else 99)
    run = gpu.Run(1, budget, None, None)
    return gpu._section("decode", None, run), ran


def test_no_part_starts_when_the_time_is_over(monkeypatch):
    pytest.importorskip("jax", reason="the benchmark runs on jax")
    found, ran = sections_of(monkeypatch, *[lambda: {"x": 1}] * 4)
    assert ran == [0, 1]
    assert found["1"] == {"x": 1}
    assert found["2"] == found["3"] == {"skipped": "no time left"}


def test_a_part_that_does_not_fit_in_memory_is_reported(monkeypatch):
    jax = pytest.importorskip("jax", reason="the benchmark runs on jax")

    def fail():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB\nmore")

    found, ran = sections_of(monkeypatch, fail, lambda: {"x": 1})
    assert found["0"] == {"failed": "RESOURCE_EXHAUSTED: 9 GB"}
    assert found["1"] == {"x": 1}


@only_jax
def test_failed_parts_end_the_run_with_an_error(monkeypatch, tmp_path):
    import jax

    def section(setting, run):
        def fail():
            raise jax.errors.JaxRuntimeError("out of memory")

        yield "batch 1", fail

    monkeypatch.setitem(gpu.SECTIONS, "decode", section)
    path = tmp_path / "results.json"
    words = ["--smoke", "--sections", "decode", "--json", str(path)]
    with pytest.raises(SystemExit, match="Failed: decode, batch 1"):
        gpu.main(words)
    found = json.loads(path.read_text())["jax"]["sections"]
    assert found == {"decode": {"batch 1": {"failed": "out of memory"}}}


def test_other_attention_ends_the_run():
    x = np.linspace(-2, 2, 12)
    assert gpu.largest_difference([x], [x + 0.02]) == pytest.approx(
        0.02 / 2.02,
        rel=1e-5,  # computed in float32
    )
    for wrong in (x + 0.2, np.full_like(x, np.nan)):
        with pytest.raises(SystemExit, match="compute different things"):
            gpu.largest_difference([x, x], [x, wrong])


def test_short_calls_are_queued(monkeypatch):
    pytest.importorskip("jax", reason="the benchmark runs on jax")
    ran = []
    monkeypatch.setattr(gpu, "MIN_SECONDS", 1e-9)
    queue, count = gpu.queued(lambda: ran.append(1))
    assert count == 1 == len(ran)
    monkeypatch.setattr(gpu, "MIN_SECONDS", 1e9)
    queue, count = gpu.queued(lambda: ran.append(1))
    assert count == gpu.MOST_CALLS
    ran.clear()
    queue()
    assert len(ran) == count


@only_jax
@pytest.mark.gpu
def test_windows_are_computed_by_cudnn():
    assert gpu.jax_implementation(gpu.SETTINGS["attention"]) == ("cudnn", "")
