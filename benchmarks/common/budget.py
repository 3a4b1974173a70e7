"""A time limit that is divided among the sections of a benchmark."""

import contextlib
import os
import sys
import threading
import time

from benchmarks.common.timing import alternate

LEAST = 2  # rounds that are measured even if there is no time


class Budget:
    """The time of each section.

    A section gets its part of the time that is left when it starts: what the
    earlier ones did not use is divided among the later ones, and what they
    used in addition is taken from them.

    Args:
        seconds: float > 0, the time of all sections together.
        shares: dict from names of sections to positive weights.
        clock: function that returns the time in seconds.
    """

    def __init__(self, seconds, shares, clock=time.perf_counter):
        self._clock = clock
        self._end = self._section_end = clock() + seconds
        self._shares = dict(shares)

    def start(self, name):
        """Starts a section, whose share is then used up.

        Returns:
            The seconds that it has.
        """
        total = sum(self._shares.values())
        now = self._clock()
        left = max(0.0, self._end - now)
        seconds = left * self._shares.pop(name) / total
        self._section_end = now + seconds
        return seconds

    @property
    def over(self):
        """Whether the time of the current section is over."""
        return self._clock() >= self._section_end


def first_runs(peers):
    """Runs each function once, and returns the seconds, with compilation.

    Args:
        peers: dict from names to functions without arguments.
    """
    found = {}
    for name, peer in peers.items():
        start = time.perf_counter()
        peer()
        found[name] = time.perf_counter() - start
    return found


def measured_rounds(peers, rounds, budget, seed=0):
    """Measures like `alternate`, in fewer rounds if the time is over.

    Args:
        peers: dict from names to functions; see `alternate`.
        rounds: int > 0, the number of rounds.
        budget: the `Budget`. There are at least `LEAST` rounds, or `rounds`.
        seed: int. Seed of the orders.

    Returns:
        A dict from the names to lists of seconds, one per round.
    """
    seconds = {name: [] for name in peers}
    for index in range(rounds):
        if index >= LEAST and budget.over:
            break
        for name, times in alternate(peers, 1, seed + index).items():
            seconds[name] += times
    return seconds


@contextlib.contextmanager
def killed_after(seconds, last_words):
    """Ends the process with status 1 if the block takes too long.

    A compiler cannot be interrupted, so the process ends at once: what it is
    to leave behind must be written before.

    Args:
        seconds: float > 0, or None for no limit.
        last_words: function without arguments that returns a message, which
            is printed.
    """
    if seconds is None:
        yield
        return

    def end():
        sys.stdout.flush()
        print(last_words(), file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
