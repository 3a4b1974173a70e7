"""Times peers against each other in one run, and writes down the result."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import random
import statistics
import time

from rich.console import Console
from rich.table import Table


def alternate(peers, rounds, seed=0):
    """Times functions in turn.

    Every round runs each of them once, in another order, so that whatever
    else the machine does falls on all alike.

    Args:
        peers: dict from names to functions without arguments. They must be
            warm, and must not return before they are done.
        rounds: int >= 1.
        seed: int. Seed of the orders.

    Returns:
        A dict from the names to lists of seconds, one a round.
    """
    if rounds < 1:
        raise ValueError(
            f"`rounds` must be positive. Received: rounds={rounds}"
        )
    order, seconds = random.Random(seed), {name: [] for name in peers}
    for _ in range(rounds):
        for name in order.sample(list(peers), len(peers)):
            start = time.perf_counter()
            peers[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summarize(seconds, ours):
    """Returns median, ratio to our median, min and max, of each peer.

    A ratio above 1 means that `ours` is faster.

    Args:
        seconds: dict from names to lists of seconds.
        ours: the name that the others are compared with.

    Returns:
        A dict from the names to dicts; times in milliseconds.
    """
    unit = statistics.median(seconds[ours])
    return {
        name: {
            "median_ms": 1e3 * statistics.median(times),
            "ratio": statistics.median(times) / unit,
            "min_ms": 1e3 * min(times),
            "max_ms": 1e3 * max(times),
        }
        for name, times in seconds.items()
    }


def show(title, summary):
    """Prints what `summarize` returned as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for head in ("median ms", "peer/ours", "min ms", "max ms"):
        table.add_column(head, justify="right")
    for name, row in summary.items():
        times = (f"{row[key]:.1f}" for key in ("min_ms", "max_ms"))
        ratio = f"{row['ratio']:.2f}"
        table.add_row(name, f"{row['median_ms']:.1f}", ratio, *times)
    Console(width=80).print(table)


def circumstances(*packages):
    """Returns when and where: date, processor, load, versions of packages."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes"),
        "device": f"{os.cpu_count()} x {_processor()}",
        "load": os.getloadavg()[0],  # of the last minute; 0 is a quiet machine
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def record(path, key, result):
    """Puts a result into a JSON file, beside those of other keys.

    Args:
        path: of the file; its folder is created.
        key: str. What the file has under this name is replaced.
        result: anything that JSON can hold.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    beside = path.with_suffix(".partial")
    text = json.dumps({**results, key: result}, indent=1, sort_keys=True)
    beside.write_text(text + "\n", "utf-8")
    beside.replace(path)


def _processor():
    """The processor's own name; Python's `platform` has it nowhere on Linux."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    names = [ln.split(":")[1].strip() for ln in lines if "model name" in ln]
    return names[0] if names else platform.processor()
