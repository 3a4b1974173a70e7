"""The time limit of a benchmark."""

import math
import subprocess
import sys
import time

import pytest

from benchmarks.common.budget import (
    LEAST,
    Budget,
    first_runs,
    killed_after,
    measured_rounds,
)


class Clock:
    """A clock that moves when it is told to."""

    now = 100.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_sections_share_the_time(clock):
    budget = Budget(60, {"a": 1, "b": 2, "c": 3}, clock)
    assert budget.start("a") == 10
    clock.work(9)
    assert not budget.over
    clock.work(1)
    assert budget.over
    assert budget.start("b") == 20
    assert not budget.over


def test_time_that_is_left_goes_to_later_sections(clock):
    budget = Budget(60, {"a": 1, "b": 2, "c": 3}, clock)
    budget.start("a")
    clock.work(5)
    assert budget.start("b") == pytest.approx(55 * 2 / 5)


def test_an_overrun_shortens_later_sections(clock):
    budget = Budget(60, {"a": 1, "b": 2, "c": 3}, clock)
    budget.start("a")
    clock.work(30)
    assert budget.start("b") == pytest.approx(30 * 2 / 5)
    clock.work(50)
    assert budget.start("c") == 0
    assert budget.over


def test_without_a_limit_no_section_ends(clock):
    budget = Budget(math.inf, {"a": 1, "b": 2}, clock)
    assert budget.start("a") == math.inf
    clock.work(1e9)
    assert not budget.over


@pytest.mark.parametrize(("seconds", "rounds"), [(1000, 9), (12, 4), (3, 2)])
def test_rounds_are_cut_at_the_end_of_the_section(clock, seconds, rounds):
    ran = []
    budget = Budget(seconds, {"a": 1}, clock)
    budget.start("a")
    peers = {
        name: lambda name=name, cost=cost: (ran.append(name), clock.work(cost))
        for name, cost in (("fast", 1), ("slow", 2))
    }
    seconds = measured_rounds(peers, 9, budget)
    assert [len(times) for times in seconds.values()] == [rounds, rounds]
    assert ran.count("fast") == ran.count("slow") == rounds >= LEAST
    if rounds == 9:
        pairs = {tuple(ran[i : i + 2]) for i in range(0, 18, 2)}
        assert len(pairs) == 2  # both orders occur


def test_one_round_remains_one(clock):
    budget = Budget(0, {"a": 1}, clock)
    assert measured_rounds({"a": lambda: None}, 1, budget)["a"] != []
    assert len(measured_rounds({"a": lambda: None}, 1, budget)["a"]) == 1


def test_first_runs_are_measured_once_each():
    ran = []
    peers = {"slow": lambda: time.sleep(0.05), "fast": lambda: ran.append(1)}
    found = first_runs(peers)
    assert found["slow"] > 0.05 > 10 * found["fast"] and ran == [1]


LATE = """
import time
from benchmarks.common.budget import killed_after
with killed_after(2, lambda: "not this one"):
    print("in time")
with killed_after(4, lambda: "last words"):
    time.sleep(60)
print("never")
"""


def test_a_process_that_is_late_ends_with_last_words():
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stdout == "in time\n" and run.stderr == "last words\n"
    assert time.perf_counter() - start < 50


def test_no_limit_starts_no_timer():
    with killed_after(None, lambda: 1 / 0):
        pass
