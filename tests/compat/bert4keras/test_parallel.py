import itertools
import threading

import pytest

from su_models.compat.bert4keras.parallel import (
    parallel_apply,
    parallel_apply_generator,
)


def test_results_of_threads():
    squares = [i * i for i in range(20)]
    apply = dict(workers=3, max_queue_size=4, dummy=True)
    found = parallel_apply(lambda x: x * x, range(20), **apply)
    assert sorted(found) == squares
    found = parallel_apply(lambda x: x * x, range(20), unordered=False, **apply)
    assert found == squares
    seen = []
    none = parallel_apply(
        lambda x: x * x, range(20), callback=seen.append, **apply
    )
    assert none is None and sorted(seen) == squares


def test_no_more_items_are_read_than_are_in_work():
    read = []

    def items():
        for i in range(20):
            read.append(i)
            yield i

    go = threading.Event()

    def wait(i):
        go.wait(30)
        return i

    results = parallel_apply_generator(wait, items(), 2, 3, dummy=True)
    timer = threading.Timer(0.3, lambda: (most.append(len(read)), go.set()))
    most = []
    timer.start()
    assert len([*results]) == 20
    assert most[0] <= 4


@pytest.mark.parametrize("name", ["workers", "max_queue_size"])
def test_sizes_are_checked(name):
    sizes = {"workers": 1, "max_queue_size": 1, name: 0}
    with pytest.raises(ValueError, match=f"Received: {name}=0"):
        parallel_apply(len, [], dummy=True, **sizes)


def test_a_reader_may_stop_early():
    results = parallel_apply_generator(abs, itertools.count(), 2, 3, True)
    assert next(results) in [(i, i) for i in range(3)]
    results.close()


# forks of a process with threads: Python warns, and so does JAX
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")
def test_results_of_processes():
    # `abs` can be sent to a process that is not forked, too
    found = parallel_apply(
        abs, range(-5, 0), 2, 2, unordered=False, random_seeds=[1, 2]
    )
    assert found == [5, 4, 3, 2, 1]
