"""Sparse attention, dense attention and other local implementations.

Measures `su_models.ops.local_attention`, `atrous_attention` (rate √n) and
`sparse_attention` as one XLA program each on TensorFlow, batch 1, 4 heads of
64, window 128, float32, at doubling lengths; forward, and forward with the
gradients of q, k and v. The same run alternates with:

* `dense`: `keras.ops.dot_product_attention` with the mask, the same compiler.
  Its time does not depend on the mask, so it is the dense form of all three.
* `sliding_window`: `keras.layers.MultiHeadAttention(sliding_window=)` and
  `LocalSelfAttention`, both with projections and the same weights.
* `SDPA`: PyTorch's `scaled_dot_product_attention` with the mask.
* `flex_attention`: PyTorch's, compiled, with its block mask; forward only,
  since it has no backward pass on CPUs. Also with inputs in its own layout.
* `local-attention`: the package of that name, with and without
  `torch.compile`.

All start from the same `(1, n, heads, dim)`, the layout of projections, so a
transposition of heads and tokens is part of the time. All must compute the
same result, to 1e-4 of the largest value, before anything is measured.
Masks and block masks that are arguments of a peer are created beforehand and
not timed. Memory is measured in separate processes: the peak of resident memory
above that of the idle process, after a warm-up with 256 tokens (the idle memory
includes the inputs; the peak includes compilation at the measured length and
the masks). It is read from /proc, which requires Linux.

    KERAS_BACKEND=tensorflow python -m benchmarks.sparse_attention

The seed is 0. benchmarks/README.md lists results with dates and devices.
"""

import argparse
import functools
import gc
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import torch  # must precede TensorFlow

# isort: split
import keras
import numpy as np
from keras import ops

from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from su_models.layers import LocalSelfAttention
from su_models.ops import (
    atrous_attention,
    local_attention,
    sparse_attention,
)

ROOT = pathlib.Path(__file__).parents[1]
SEED = 0
HEADS, DIM, WINDOW = 4, 64, 128
LENGTHS = 1024, 2048, 4096, 8192, 16384
FIT_FROM = 2048  # least length for the fit of the growth
MEMORY_AT = 8192
TOLERANCE = 1e-4
MIN_SECONDS = 0.06  # of a measurement: shorter calls are repeated
LOCAL, ATROUS, SPARSE = (f"su_models, {p}" for p in ("local", "atrous", "both"))
DENSE, SLIDING = "dense, mask", "Keras' sliding_window="
OUR_LAYER = "LocalSelfAttention layer"
SDPA, FLEX = "PyTorch SDPA, mask", "PyTorch flex_attention"
LAID = "flex_attention, inputs laid for it"  # heads before tokens, beforehand
PACKAGE, COMPILED = "local-attention", "local-attention, compiled"
# the dense forms backward take 5 GB at 8k; four times that at 16k
LONGEST = {
    (DENSE, True): 8192,
    (SLIDING, False): 8192,
    (SLIDING, True): 4096,
    (SDPA, True): 8192,
    (FLEX, True): 0,
    (LAID, True): 0,
    (COMPILED, True): 0,
}


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if keras.config.backend() != "tensorflow":
        raise SystemExit(
            "This benchmark needs KERAS_BACKEND=tensorflow. "
            f"Received: {keras.config.backend()}"
        )
    torch.set_num_threads(given.threads)
    if given.child:
        print(json.dumps(peak_memory(*given.child)))
        return
    result = circumstances(
        "keras", "tensorflow", "torch", "local-attention", "numpy"
    )
    if not given.no_memory:  # first, while this process uses little memory
        result["memory"] = _memories(given)
    result["largest_difference"] = check(min(512, *given.lengths))
    for backward in False, True:
        name = "forward and backward" if backward else "forward"
        result[name] = _times(name, backward, given)
        if given.json:
            record(given.json, "tensorflow", result)
    if given.json:
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", nargs="+", type=int, default=[*LENGTHS])
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="PyTorch's"
    )
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    given.memory_at = MEMORY_AT
    if given.smoke:
        given.rounds, given.lengths, given.memory_at = 1, [256, 512], 512
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/sparse_attention.json")
    return given


# ---- peers: each a function of (n, backward) that returns a function


def rate_of(n):
    """The rate at which atrous attention grows like n^1.5."""
    return math.isqrt(n)


def inputs(n):
    """Queries, keys, values: float32 `(3, 1, n, heads, dim)`."""
    random = np.random.default_rng(SEED)
    return random.normal(size=(3, 1, n, HEADS, DIM)).astype("float32")


def make(name, n, backward):
    """Returns a function without arguments that runs one peer at a length.

    It returns tensors `(1, n, heads, dim)`: the context, or, backward, the
    gradients of its weighted sum with respect to q, k, v.
    """
    if name in (OUR_LAYER, SLIDING):
        return _layer(name, n, backward)
    if name in (LOCAL, ATROUS, SPARSE, DENSE):
        return _compiled(_ours(name, n), n, backward)
    return _pytorch(name, n, backward)


def _ours(name, n, window=WINDOW):
    def dense(q, k, v):
        i = ops.arange(n)
        mask = ops.abs(i[:, None] - i) <= window
        return ops.dot_product_attention(q, k, v, mask=mask[None, None])

    return {
        LOCAL: lambda *x: local_attention(*x, window),
        ATROUS: lambda *x: atrous_attention(*x, rate_of(n)),
        SPARSE: lambda *x: sparse_attention(*x, rate_of(n), window),
        DENSE: dense,
    }[name]


def _compiled(function, n, backward):
    """One XLA program."""
    import tensorflow as tf

    x = [tf.constant(t) for t in inputs(n)]
    weight = tf.constant(x[0][:, ::-1])

    @tf.function(jit_compile=True, autograph=False)
    def program(*x):
        if not backward:
            return [function(*x)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(function(*x) * weight)
        return tape.gradient(loss, x)

    return lambda: program(*x)


def _layer(name, n, backward):
    """A layer with its projections, as a model would have it."""
    import tensorflow as tf

    d = HEADS * DIM
    if name == OUR_LAYER:
        layer = LocalSelfAttention(HEADS, DIM, WINDOW)
        call = layer
    else:  # `sliding_window` counts the token itself
        layer = keras.layers.MultiHeadAttention(
            HEADS, DIM, sliding_window=WINDOW + 1
        )

        def call(x):
            return layer(x, x)

    x = tf.constant(inputs(n)[0].reshape(1, n, d))
    call(x[:, :8])
    random = np.random.default_rng(SEED)
    layer.set_weights([random.normal(size=w.shape) / 16 for w in layer.weights])

    @tf.function(jit_compile=True, autograph=False)
    def program(x):
        if not backward:
            return [call(x)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(call(x) * x[:, ::-1])
        return tape.gradient(loss, [x, *layer.trainable_variables])[:1]

    return lambda: program(x)


def _theirs(name, n):
    """A function of q, k, v, `(1, heads, n, dim)`, in PyTorch."""
    if name in (PACKAGE, COMPILED):
        from local_attention import LocalAttention

        module = LocalAttention(
            window_size=WINDOW,
            causal=False,
            look_backward=1,
            look_forward=1,
            exact_windowsize=True,
            autopad=True,
            use_rotary_pos_emb=False,
        )
        if name == COMPILED:
            return torch.compile(module, dynamic=False)
        return module
    if name == SDPA:
        i = torch.arange(n)
        mask = (i[:, None] - i).abs() <= WINDOW
        attend = torch.nn.functional.scaled_dot_product_attention
        return lambda *x: attend(*x, attn_mask=mask)
    from torch.nn.attention import flex_attention as flex

    def near(_, __, i, j):
        return (i - j).abs() <= WINDOW

    # blocks of 64, where it is faster than with its default of 128
    blocks = flex.create_block_mask(
        near, None, None, n, n, device="cpu", BLOCK_SIZE=64
    )
    attend = torch.compile(flex.flex_attention, dynamic=False, fullgraph=True)
    return lambda *x: attend(*x, block_mask=blocks)


def _pytorch(name, n, backward):
    made = functools.cache(lambda: _theirs(name, n))  # masks in the first call
    x = [torch.from_numpy(t).requires_grad_(backward) for t in inputs(n)]
    weight = x[0].detach().flip(1)
    laid = [heads_first(t.detach()) for t in x] if name == LAID else None

    def attend():
        given = laid or [heads_first(t) for t in x]
        return made()(*given).transpose(1, 2)

    def run():
        if not backward:
            with torch.inference_mode():
                return [attend()]
        return torch.autograd.grad((attend() * weight).sum(), x)

    return run


def heads_first(x):
    """Returns a contiguous tensor `(1, heads, n, dim)`."""
    return x.transpose(1, 2).contiguous()


def check(n):
    """Returns the largest difference of results that must be equal."""
    groups = [
        [LOCAL, DENSE, SDPA, PACKAGE, COMPILED, FLEX, LAID],
        [OUR_LAYER, SLIDING],
    ]
    worst = 0.0
    for names in groups:
        for backward in False, True:
            first, *others = [
                (name, [np.asarray(y) for y in make(name, n, backward)()])
                for name in names
                if n <= LONGEST.get((name, backward), n)
            ]
            for name, arrays in others:
                for a, b in zip(first[1], arrays, strict=True):
                    found = float(np.abs(a - b).max() / np.abs(a).max())
                    worst = max(worst, found)
                    if not found <= TOLERANCE:
                        raise SystemExit(
                            f"'{name}' computes something else than "
                            f"'{first[0]}'. Received: relative "
                            f"difference={found:.1e}"
                        )
    return worst


# ---- time


def _times(title, backward, given):
    """Measures all peers at all lengths, and fits their growth."""
    names = [LOCAL, ATROUS, SPARSE, DENSE, SDPA, FLEX, LAID, PACKAGE]
    names += [COMPILED, OUR_LAYER, SLIDING]
    found = {}
    for n in given.lengths:
        start = time.perf_counter()
        here = [m for m in names if n <= LONGEST.get((m, backward), n)]
        peers = {name: make(name, n, backward) for name in here}
        repeats = {name: _repeats(peer) for name, peer in peers.items()}

        def repeated(name, peers=peers, repeats=repeats):
            def run():
                for _ in range(repeats[name]):
                    peers[name]()

            return run

        seconds = alternate(
            {name: repeated(name) for name in here}, given.rounds, SEED
        )
        seconds = {k: [s / repeats[k] for s in v] for k, v in seconds.items()}
        found[n] = {"summary": summarize(seconds, LOCAL), "seconds": seconds}
        show(f"{title}, {n} tokens, {given.rounds} rounds", found[n]["summary"])
        peers.clear()
        gc.collect()  # gigabytes, at the largest lengths
        torch.compiler.reset()  # it compiles a function at most 8 times
        took = time.perf_counter() - start
        print(f"{title}, {n} tokens: {took:.0f} s", file=sys.stderr)
    growth = {name: exponent(found, name) for name in names}
    for name, power in growth.items():
        if power is not None:
            print(f"{title}: time of '{name}' grows like n^{power:.2f}")
    return {"lengths": found, "growth": growth}


def _repeats(peer):
    """Returns the number of calls in one measurement."""
    peer()  # compiles
    start = time.perf_counter()
    peer()
    return max(1, math.ceil(MIN_SECONDS / (time.perf_counter() - start)))


def exponent(found, name):
    """Returns p of the least-squares fit c·n^p of medians, or None."""
    points = [
        (math.log(n), math.log(at["summary"][name]["median_ms"]))
        for n, at in found.items()
        if n >= FIT_FROM and name in at["summary"]
    ]
    if len(points) < 2:
        return None
    return float(np.polyfit(*zip(*points, strict=True), 1)[0])


# ---- memory


def _memories(given):
    """Measures each peer's peak memory in a separate process."""
    found = {}
    n = given.memory_at
    for backward in False, True:
        title = "forward and backward" if backward else "forward"
        names = [LOCAL, ATROUS, SPARSE, DENSE, SDPA, PACKAGE]
        names += [] if backward else [FLEX]
        found[title] = {}
        for name in names:
            words = ["--child", name, str(n), str(int(backward))]
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.sparse_attention", *words],
                cwd=ROOT,
                capture_output=True,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            if run.returncode:
                raise SystemExit(run.stderr)
            found[title][name] = json.loads(run.stdout.splitlines()[-1])
        dense = found[title][DENSE]
        for name, peak in found[title].items():
            print(
                f"{title}, {n} tokens, peak above rest: {name:24} "
                f"{peak:7.0f} MB, {peak / dense:.3f} of the dense form"
            )
    return {"tokens": n, **found}


def peak_memory(name, n, backward):
    """Returns the peak memory of a peer in MB above the idle process."""
    n, backward = int(n), bool(int(backward))
    make(name, 256, backward)()
    run = make(name, n, backward)
    # resets the peak; see proc(5)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    rest = _status("VmRSS")
    for _ in range(3):
        run()
    return (_status("VmHWM") - rest) / 1024


def _status(key):
    """Returns a line of /proc/self/status, in kB."""
    lines = pathlib.Path("/proc/self/status").read_text("utf-8").splitlines()
    (line,) = (ln for ln in lines if ln.startswith(f"{key}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
