"""Measures peers alternately in one run, and records the results."""

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

_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # instructions for products


def alternate(peers, rounds, seed=0):
    """Measures functions alternately.

    Every round runs each function once, in a random order, so that other load
    of the machine affects all of them equally.

    Args:
        peers: dict from names to functions without arguments. They must be
            warmed up, and must not return before they are finished.
        rounds: int >= 1.
        seed: int. Seed of the orders.

    Returns:
        A dict from the names to lists of seconds, one per round.
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
    """Returns median, ratio to the median of `ours`, min and max of peers.

    A ratio above 1 means that `ours` is faster.

    Args:
        seconds: dict from names to lists of seconds.
        ours: name of the function that the others are compared with.

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
    """Prints a result of `summarize` as a table."""
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
    """Returns the date, the processor, the load and versions of packages.

    Of the processor: cores and name, vendor, and instructions for bfloat16.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes"),
        "device": f"{os.cpu_count()} x {_processor('model name')}",
        "vendor": _processor("vendor_id"),
        "bfloat16": [f for f in _BFLOAT16 if f in _processor("flags").split()],
        "load": os.getloadavg()[0],  # of the last minute; 0 means idle
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def record(path, key, result):
    """Adds a result to a JSON file with results of other keys.

    Args:
        path: path of the file; its folder is created.
        key: str. An existing result of this key is replaced.
        result: any JSON-serializable object.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    beside = path.with_suffix(".partial")
    text = json.dumps({**results, key: result}, indent=1, sort_keys=True)
    beside.write_text(text + "\n", "utf-8")
    beside.replace(path)


def _processor(key):
    """Returns what Linux tells of the first core, `platform` elsewhere."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = [ln.split(":")[1].strip() for ln in lines if ln.startswith(key)]
    return found[0] if found else platform.processor()
