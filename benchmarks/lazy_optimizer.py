"""Training steps of an embedding table: LazyOptimizer and its peers.

A batch of 4 096 ids is looked up in a table of `rows` x 64, float32; the loss
is the mean squared distance to fixed targets. The benchmark measures a whole
training step, forward, backward and update, for tables of several sizes:

* Keras' `Adam`, `SGD` and `LazyOptimizer(Adam)` in the train function that
  `fit` runs, compiled by XLA (`jit_compile=True`);
* the last two without XLA, where TensorFlow copies the table;
* PyTorch's `SparseAdam` on `torch.nn.Embedding(sparse=True)`, which is
  equivalent to `LazyOptimizer(Adam)`. Both must give the same table, to 1e-5,
  before anything is measured.

Peers alternate in turns of six steps, of which the first does not count. All
have the same number of threads. The benchmark also fits the exponent of the
time as a function of the size, and measures, in separate processes, the peak
memory of a step above the memory before it, in units of the table's size.

The ids follow Zipf's law, by which larger tables have more different ids in a
batch. `--draw` tells from this what the processor's caches cost: all ids differ
in "spread", anywhere in the table, and in "block", where they are always the
same rows, side by side.

    KERAS_BACKEND=tensorflow python -m benchmarks.lazy_optimizer
    KERAS_BACKEND=tensorflow python -m benchmarks.lazy_optimizer --draw block

The seed is 0. benchmarks/README.md lists results with dates and devices.
"""

import argparse
import gc
import json
import pathlib
import subprocess
import sys
import time

import torch  # must precede TensorFlow

# isort: split
import keras
import numpy as np

from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from su_models.optimizers import LazyOptimizer

ROOT = pathlib.Path(__file__).parents[1]
SEED = 0
DIM = 64
IDS = 4096
RATE = 1e-3
STEPS = 5  # in a round
CHECKED = 3
TOLERANCE = 1e-5
DRAWS = ("zipf", "spread", "block")
OURS = "LazyOptimizer(Adam), XLA"
TORCH = "SparseAdam, PyTorch"
BACKEND = keras.config.backend()
OPTIMIZERS = {
    "Adam": keras.optimizers.Adam,
    "SGD": keras.optimizers.SGD,
    "LazyOptimizer(Adam)": lambda rate: LazyOptimizer(
        keras.optimizers.Adam(rate)
    ),
}
COMPILED = {f"{name}, XLA": (name, True) for name in OPTIMIZERS}
PLAIN = {name: (name, False) for name in ("SGD", "LazyOptimizer(Adam)")}


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if BACKEND != "tensorflow":
        raise SystemExit(
            "Gradients that list rows need KERAS_BACKEND=tensorflow. "
            f"Received: {BACKEND}"
        )
    if given.memory:
        print(json.dumps(_memory(given.memory, given.rows[0], given.ids)))
        return
    if not given.smoke:  # TensorFlow refuses once it has computed something
        _limit_threads(given.threads)
    result = circumstances("keras", BACKEND, "torch", "numpy")
    result["ids"], result["dim"], result["draw"] = given.ids, DIM, given.draw
    result["sizes"] = {n: _size(n, given) for n in given.rows}
    result["exponents"] = exponents(result["sizes"])
    for name, exponent in result["exponents"].items():
        print(f"time ~ rows^{exponent:.2f}  {name}")
    result["memory"] = _memories(given)
    if given.json:
        record(given.json, BACKEND, result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sizes = [10_000, 100_000, 1_000_000, 2_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--draw", choices=DRAWS, default="zipf")
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument("--memory", choices=COMPILED, help=argparse.SUPPRESS)
    parser.add_argument(
        "--ids", type=int, default=IDS, help="how many are looked up"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    if given.smoke:
        given.rounds, given.rows, given.ids = 1, [300, 700], 64
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/lazy_optimizer.json")
    return given


def _limit_threads(number):
    """Gives all parties the same number of threads."""
    import tensorflow as tf

    torch.set_num_threads(number)
    tf.config.threading.set_intra_op_parallelism_threads(number)
    tf.config.threading.set_inter_op_parallelism_threads(number)


def batches(rows, ids, number, draw="zipf"):
    """Returns lists of ids; the module's docstring explains `draw`."""
    random = np.random.default_rng(SEED)
    if draw == "block":
        block = np.arange(rows // 2, rows // 2 + ids, dtype="int32")
        return [random.permutation(block) for _ in range(number)]
    # the frequency of a token does not depend on its row
    order = random.permutation(rows).astype("int32")
    odds = 1 / np.arange(1, rows + 1) if draw == "zipf" else np.ones(rows)
    return [
        order[
            random.choice(
                rows, ids, replace=draw == "zipf", p=odds / odds.sum()
            )
        ]
        for _ in range(number)
    ]


def start(rows):
    """Returns the table before the first step."""
    return np.random.default_rng(SEED).random((rows, DIM), "float32") - 0.5


# ---- peers: a function that takes one step on some ids, and their table


def keras_step(name, jit, rows, ids):
    """A step of the train function of a model of one `Embedding`."""
    import tensorflow as tf

    layer = keras.layers.Embedding(rows, DIM, embeddings_initializer="zeros")
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    model.compile(OPTIMIZERS[name](RATE), "mse", jit_compile=jit)
    layer.embeddings.assign(start(rows))
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    targets = tf.zeros((ids, DIM))

    def step(batch):
        logs = model.train_function(iter([(batch, targets)]))
        float(logs["loss"])  # waits

    return step, lambda: layer.embeddings.numpy()


def torch_step(rows, ids):
    """A step of PyTorch on sparse gradients."""
    table = torch.nn.Embedding.from_pretrained(
        torch.from_numpy(start(rows)), freeze=False, sparse=True
    )
    # Keras' ε; both add it to the root of the uncorrected moment
    optimizer = torch.optim.SparseAdam(table.parameters(), RATE, eps=1e-7)
    targets = torch.zeros(ids, DIM)

    def step(batch):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(table(batch), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, lambda: table.weight.detach().numpy()


def _size(rows, given):
    """Measures tables of one size."""
    import tensorflow as tf

    peers = {
        key: keras_step(name, jit, rows, given.ids)
        for key, (name, jit) in {**COMPILED, **PLAIN}.items()
    }
    peers[TORCH] = torch_step(rows, given.ids)
    lists = batches(rows, given.ids, CHECKED + 1 + STEPS, given.draw)
    prepared = {
        key: [
            torch.from_numpy(b.astype("int64"))
            if key == TORCH
            else tf.constant(b)
            for b in lists
        ]
        for key in peers
    }
    for key, (step, _) in peers.items():
        for batch in prepared[key][:CHECKED]:
            step(batch)
    difference = largest_difference(peers[OURS][1](), peers[TORCH][1]())

    seconds = {key: [] for key in peers}

    def steps(key):
        def run():
            first, *others = prepared[key][CHECKED:]
            peers[key][0](first)  # the previous peer has replaced the caches
            begin = time.perf_counter()
            for batch in others:
                peers[key][0](batch)
            seconds[key].append((time.perf_counter() - begin) / STEPS)

        return run

    alternate({key: steps(key) for key in peers}, given.rounds, SEED)
    summary = summarize(seconds, OURS)
    unique = [len(np.unique(b)) for b in lists]
    title = (
        f"{rows} rows x {DIM}, {given.ids} ids, {np.mean(unique):.0f} differ"
    )
    show(f"{title}: a step, {given.rounds} rounds of {STEPS}", summary)
    peers.clear()
    keras.backend.clear_session()
    gc.collect()
    return {
        "largest_difference": difference,
        "different_ids": float(np.mean(unique)),
        "threads": given.threads,
        "summary": summary,
        "seconds": seconds,
    }


def largest_difference(ours, theirs):
    """Returns the difference; rejects a large one and unchanged tables."""
    moved = np.abs(theirs - start(len(theirs))).max()
    found = np.abs(ours - theirs).max()
    if not found <= TOLERANCE or not moved > 10 * TOLERANCE:
        raise SystemExit(
            f"'{OURS}' and '{TORCH}' give other tables. "
            f"Received: difference={found:.1e}, moved by {moved:.1e}"
        )
    return float(found)


def exponents(sizes):
    """Returns, for each peer, the slope of log time over log rows."""
    logs = np.log([*sizes])
    return {
        name: float(
            np.polyfit(
                logs,
                np.log(
                    [s["summary"][name]["median_ms"] for s in sizes.values()]
                ),
                1,
            )[0]
        )
        for name in next(iter(sizes.values()))["summary"]
    }


# ---- memory


def _memories(given):
    """Measures each compiled peer in a separate process."""
    rows, found = given.rows[len(given.rows) // 2], {}
    for name in COMPILED:
        words = ["--memory", name, "--rows", str(rows), "--ids", str(given.ids)]
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.lazy_optimizer", *words],
            check=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        found[name] = json.loads(run.stdout.splitlines()[-1])
        print(f"memory of a step, tables of {rows}: {found[name]:.2f}  {name}")
    return {"rows": rows, "tables": found}


def _memory(name, rows, ids):
    """Returns the peak memory of steps above the level before, in tables.

    It includes the compiler's memory: memory that a step frees remains in the
    process, so later steps would seem to need none.
    """
    step, _ = keras_step(*COMPILED[name], rows, ids)
    lists = batches(rows, ids, 3)
    gc.collect()
    pathlib.Path("/proc/self/clear_refs").write_text("5", "utf-8")  # the peak
    before = _status("VmRSS")
    for batch in lists:
        step(batch)
    return (_status("VmHWM") - before) / (4 * rows * DIM)


def _status(field):
    """Returns a size of this process in bytes, as reported by Linux."""
    for line in (
        pathlib.Path("/proc/self/status").read_text("utf-8").split("\n")
    ):
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"Memory is measured on Linux. Received: no {field}")


if __name__ == "__main__":
    main()
