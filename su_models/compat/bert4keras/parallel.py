"""bert4keras' `parallel_apply`: a function over items, in several workers."""

import functools
import multiprocessing
import multiprocessing.pool
import threading

import numpy as np

from su_models.utils.checks import check_size

_worker = {}  # in a process: the function it applies


def _start(func, seeds):
    _worker["func"] = func
    if not seeds.empty():
        np.random.seed(seeds.get())


def _apply(func, pair):
    i, item = pair
    return i, func(item)


def _apply_started(pair):
    return _apply(_worker["func"], pair)


def parallel_apply_generator(
    func, iterable, workers, max_queue_size, dummy=False, random_seeds=True
):
    """Yields pairs of the index of an item and the function's result.

    The pairs come in the order in which they are complete.

    Args:
        func: function of an item. On systems that do not fork, it must be
            defined at the top of a module.
        iterable: the items.
        workers: int > 0. Number of processes or threads.
        max_queue_size: int > 0. Largest number of items in work.
        dummy: bool. Whether to use threads instead of processes.
        random_seeds: list of seeds of NumPy, one for each process; True for
            random ones; None or False for none.
    """
    check_size("workers", workers)
    check_size("max_queue_size", max_queue_size)
    room, stopped = threading.Semaphore(max_queue_size), threading.Event()

    def items():
        for pair in enumerate(iterable):
            while not room.acquire(timeout=0.1):
                if stopped.is_set():  # nobody takes the results
                    return
            yield pair

    if dummy:
        pool = multiprocessing.pool.ThreadPool(workers)
        apply = functools.partial(_apply, func)
    else:
        seeds = multiprocessing.Queue()
        if random_seeds is True:
            random_seeds = [None] * workers
        for seed in random_seeds or []:
            seeds.put(seed)
        pool = multiprocessing.Pool(workers, _start, (func, seeds))
        apply = _apply_started
    with pool:
        try:
            for result in pool.imap_unordered(apply, items()):
                room.release()
                yield result
        finally:
            stopped.set()


def parallel_apply(
    func,
    iterable,
    workers,
    max_queue_size,
    callback=None,
    dummy=False,
    random_seeds=True,
    unordered=True,
):
    """Returns the results of a function for all items, a list.

    Args:
        func, iterable, workers, max_queue_size, dummy, random_seeds: see
            `parallel_apply_generator`.
        callback: optional function that receives each result; then nothing is
            returned.
        unordered: bool. Whether the results may be in another order than the
            items.
    """
    pairs = parallel_apply_generator(
        func, iterable, workers, max_queue_size, dummy, random_seeds
    )
    if callback is not None:
        for _, result in pairs:
            callback(result)
        return None
    pairs = list(pairs)
    if not unordered:
        pairs.sort(key=lambda pair: pair[0])
    return [result for _, result in pairs]
