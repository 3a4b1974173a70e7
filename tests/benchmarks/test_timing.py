"""What the benchmarks measure with."""

import json
import time

import pytest

from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)


def test_every_round_runs_each_peer_once():
    ran = []
    peers = {name: lambda name=name: ran.append(name) for name in "abc"}
    seconds = alternate(peers, rounds=20)
    rounds = ["".join(ran[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 2  # no peer always comes after the same one
    assert [*seconds] == ["a", "b", "c"]
    assert all(len(times) == 20 for times in seconds.values())


def test_what_is_measured_is_the_peer():
    peers = {"slow": lambda: time.sleep(0.05), "fast": lambda: None}
    seconds = alternate(peers, rounds=2)
    assert min(seconds["slow"]) > 0.05 > 10 * min(seconds["fast"])


def test_a_ratio_above_one_means_that_ours_is_faster():
    seconds = {"ours": [0.2, 0.1, 0.9], "peer": [0.5, 0.6, 0.4]}
    summary = summarize(seconds, "ours")
    assert summary["ours"]["ratio"] == 1
    assert summary["peer"] == {
        "median_ms": pytest.approx(500),
        "ratio": pytest.approx(2.5),
        "min_ms": pytest.approx(400),
        "max_ms": pytest.approx(600),
    }


def test_the_table_shows_each_peer(capsys):
    seconds = {"ours": [0.2], "a peer": [0.5]}
    show("a title", summarize(seconds, "ours"))
    shown = capsys.readouterr().out
    assert "a title" in shown
    (row,) = (line for line in shown.splitlines() if "a peer" in line)
    assert row.replace("│", " ").split()[2:] == ["500.0", "2.50"] + 2 * [
        "500.0"
    ]


def test_circumstances_tell_versions_and_device():
    found = circumstances("numpy")
    assert found["numpy"].count(".") == 2
    assert found["device"][0].isdigit() and len(found["device"]) > 8
    assert found["vendor"] and {*found["bfloat16"]} <= {
        "avx512_bf16",
        "amx_bf16",
    }
    assert json.dumps(found)


def test_results_of_other_keys_stay(tmp_path):
    path = tmp_path / "new" / "results.json"
    record(path, "jax", {"a": 1})
    record(path, "tensorflow", {"a": 2})
    record(path, "jax", {"b": 3})
    found = json.loads(path.read_text())
    assert found == {"jax": {"b": 3}, "tensorflow": {"a": 2}}
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_a_failed_write_leaves_the_file(tmp_path):
    path = tmp_path / "results.json"
    record(path, "jax", {"a": 1})
    with pytest.raises(TypeError):
        record(path, "jax", {"a": object()})
    assert json.loads(path.read_text()) == {"jax": {"a": 1}}


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="Received: rounds=0"):
        alternate({"peer": lambda: None}, rounds=0)
