"""Reports the CPU time of the tests of each room, and its budget.

A plugin of pytest, which conftest.py loads. It counts CPU seconds of all
threads and of all processes that a test waits for: these depend far less than
wall-clock time on other load of the machine.
"""

import collections
import os

import keras
import pytest

# seconds on TensorFlow: about five fourths of what one run took on 2026-11-30,
# on a 2-core AMD EPYC with other load at times. The "checkpoints" room, 126
# then, has since been made to build each model once
BUDGETS = {
    "contract": 320,
    "layers": 300,
    "models": 270,
    "training": 260,
    "optimizers": 175,
    "tasks": 125,
    "checkpoints": 110,
    "compat": 110,
    "ops": 80,
    "cli": 80,
    "edges": 75,
    "examples": 100,
    "sampling": 60,
    "losses": 60,
    "generation": 55,
    "runs": 35,
    "export": 30,
    "backend": 30,
    "readme": 20,
    "tools": 15,
    "architecture": 15,
    "data": 10,
    "importing": 10,
    "long_sums": 10,
    "utils": 10,
    "regularizers": 5,
    "docs": 5,
    "text": 5,
}
SLOWEST = 10
ENOUGH = 100  # nothing is printed for fewer tests


def room(nodeid):
    """Returns the room of a test: "layers" for tests/layers/a/test_b.py."""
    parts = nodeid.split("::")[0].split("/")
    if len(parts) > 2:
        return parts[1]
    return parts[-1].removeprefix("test_").removesuffix(".py")


def table(seconds, budgets):
    """Yields lines with the times of each room and of the slowest tests."""
    rooms, counts = collections.Counter(), collections.Counter()
    for nodeid, value in seconds.items():
        rooms[room(nodeid)] += value
        counts[room(nodeid)] += 1
    yield f"{'room':<16}{'tests':>6}{'seconds':>9}{'budget':>8}"
    rows = [
        (name, counts[name], rooms[name]) for name, _ in rooms.most_common()
    ]
    for name, count, value in [*rows, ("all", len(seconds), rooms.total())]:
        budget = budgets.get(name, 0)
        if name == "all":
            budget = sum(budgets.get(room, 0) for room in rooms)
        line = f"{name:<16}{count:>6}{value:>9.1f}{budget or '':>8}"
        yield line + " over its budget" * (0 < budget < value)
    yield f"the {SLOWEST} slowest tests:"
    for nodeid, value in collections.Counter(seconds).most_common(SLOWEST):
        yield f"{value:>9.1f}  {nodeid}"


def spent():
    """Returns the CPU seconds of this process and its ended children."""
    return sum(os.times()[:4])


class Times:
    """Measures tests in their process, and adds them in the main process."""

    def __init__(self):
        self.last = spent()
        self.seconds = collections.Counter()

    def pytest_collection_finish(self):
        self.last = spent()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        report = yield
        now = spent()
        report.cpu_seconds, self.last = now - self.last, now
        return report

    def pytest_runtest_logreport(self, report):
        # a worker that died has measured nothing
        self.seconds[report.nodeid] += getattr(report, "cpu_seconds", 0.0)

    def pytest_terminal_summary(self, terminalreporter):
        if len(self.seconds) >= ENOUGH:
            terminalreporter.section("seconds of CPU")
            on_tensorflow = keras.config.backend() == "tensorflow"
            for line in table(self.seconds, BUDGETS if on_tensorflow else {}):
                terminalreporter.write_line(line)


def pytest_configure(config):
    """Registers the plugin; pytest calls this function."""
    config.pluginmanager.register(Times())
