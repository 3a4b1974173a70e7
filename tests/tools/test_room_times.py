"""Seconds are added up by room, from what each test used of the CPU."""

import pytest

from tools import room_times

SLOW = """
import subprocess, sys, time
import pytest

LOOP = "import time\\nwhile time.process_time() < {}: pass"

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

@pytest.fixture
def prepared():
    spin(0.2)

def test_idle():
    time.sleep(0.4)

def test_own(prepared):
    spin(0.3)

def test_child():
    subprocess.run([sys.executable, "-c", LOOP.format(0.3)])
"""


@pytest.mark.parametrize(
    ("nodeid", "room"),
    [
        ("tests/layers/attention/test_a.py::test_b[x/y]", "layers"),
        ("tests/test_contract.py::test_contract[layers-A]", "contract"),
        ("su_models/ops/smooth.py::su_models.ops.smooth.f", "ops"),
        ("tests/parity/test_a.py::test_b", "parity"),
    ],
)
def test_room_is_the_first_folder(nodeid, room):
    assert room_times.room(nodeid) == room


def test_rooms_come_in_order_beside_their_budgets():
    seconds = {
        "tests/ops/test_a.py::test_b": 1.25,
        "tests/layers/test_a.py::test_b": 4.0,
        "tests/ops/test_a.py::test_c": 1.5,
    }
    head, *rows, total, title, first, second, third = room_times.table(
        seconds, {"layers": 3, "ops": 9}
    )
    assert head.split() == ["room", "tests", "seconds", "budget"]
    assert rows[0].split() == "layers 1 4.0 3 over its budget".split()
    assert rows[1].split() == "ops 2 2.8 9".split()
    assert total.split() == "all 3 6.8 12".split()
    assert first.split() == ["4.0", "tests/layers/test_a.py::test_b"]
    assert second.split() == ["1.5", "tests/ops/test_a.py::test_c"]


def test_room_without_a_budget_is_not_over_it():
    rows = list(room_times.table({"tests/ops/test_a.py::test_b": 5.0}, {}))
    assert rows[1].split() == "ops 1 5.0".split()


def test_seconds_are_those_of_the_cpu_and_of_children(tmp_path):
    (tmp_path / "test_slow.py").write_text(SLOW)
    times = room_times.Times()
    pytest.main(
        ["-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        plugins=[times],
    )
    got = {node.split("::")[1]: s for node, s in times.seconds.items()}
    assert got["test_idle"] < 0.2
    assert 0.45 < got["test_own"] < 1.0  # with its fixture
    assert 0.25 < got["test_child"]
