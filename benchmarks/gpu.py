"""A GPU in bfloat16: training, decoding, attention, ON-LSTM, diffusion.

One command of at most four minutes with compilation, on one GPU, under JAX.
Sections, in their order:

* `train_base`, `train_large`: training steps of a RoFormer language model (12
  layers of 768, 24 of 1 024; Adam, `mixed_bfloat16`, `fit`): tokens per
  second, and model FLOPs (`common/transformer_cost.py`) as a share of the
  device's peak. `train_large` comes last.
* `decode`: `generate` by the base model, greedy, 64 + 256 tokens, bfloat16,
  batches of 1, 32 and 256: generated tokens per second, and the bytes that a
  step must read as a share of the peak bandwidth. A step is the time of the
  whole call, prompt included, divided by the number of new tokens.
* `attention`: `ops.local_attention` (causal, window 128, 8 heads of 64) at
  4 096 to 65 536 tokens, beside `jax.nn.dot_product_attention` with the same
  window (by cuDNN where it runs; by XLA, which computes all n² scores, to
  16 384 tokens) and without a window (to 16 384); forward, and forward with
  the gradients of q, k, v. The windowed forms must agree at the least length.
* `on_lstm`: a training step of `ONLSTM` in the paper's size, beside
  `keras.layers.LSTM` without cuDNN.
* `diffusion`: DDIM in 50 steps by the network `build_ddpm("mnist")`.

Peers alternate in random order after a warm-up; each time ends when the device
has finished. Each section has a share of the time limit: when it is over,
rounds (down to 2) and remaining parts are left out, and at the limit the
process ends. Results are written after each section. Shares of the peak are
computed for the devices in `common/accelerator.py`; for others give
`--peak-flops` and `--peak-bandwidth`.

    KERAS_BACKEND=jax python -m benchmarks.gpu
    KERAS_BACKEND=jax python -m benchmarks.gpu --sections decode attention

`--smoke` runs tiny sizes on any device. The seed is 0. benchmarks/README.md
lists results with dates and devices.
"""

import argparse
import contextlib
import dataclasses
import functools
import gc
import math
import pathlib
import statistics
import sys
import time

import keras
import numpy as np

from benchmarks.common.accelerator import peaks, share
from benchmarks.common.budget import (
    Budget,
    first_runs,
    killed_after,
    measured_rounds,
)
from benchmarks.common.timing import circumstances, record
from benchmarks.common.transformer_cost import decoding_bytes, training_flops
from su_models.layers import ONLSTM
from su_models.models import build_ddpm, build_transformer_model, generate
from su_models.ops import local_attention
from su_models.sampling import DDIM, NoiseSchedule

SEED = 0
SECONDS = 225.0  # of the sections; importing takes the rest of four minutes
MIN_SECONDS = 0.03  # of a measurement of attention: calls are queued
MOST_CALLS = 500
TOLERANCE = 3e-2  # of bfloat16, relative to the largest value
OURS, WINDOWED, DENSE = "su_models, local", "JAX, window", "JAX, dense"
FORWARD, BACKWARD = "forward", "forward and backward"

BASE = {
    "vocab_size": 12000,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
}
LARGE = {
    **BASE,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
TINY = {
    **BASE,
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
SETTINGS = {
    "train_base": {"sizes": BASE, "batch": 64, "length": 512, "steps": 8},
    "decode": {"sizes": BASE, "batches": (1, 32, 256), "prompt": 64}
    | {"new": 256},
    "attention": {"lengths": (4096, 8192, 16384, 32768, 65536)}
    | {"square_to": 16384, "heads": 8, "dim": 64, "window": 128},
    "on_lstm": {"batch": 20, "length": 70, "width": 400, "units": 1150}
    | {"levels": 115, "steps": 8},
    "diffusion": {"network": {}, "images": 256, "stride": 20},
    "train_large": {"sizes": LARGE, "batch": 32, "length": 512, "steps": 8},
}
SMOKE = {
    "train_base": {"sizes": TINY, "batch": 2, "length": 7, "steps": 2},
    "decode": {"sizes": TINY, "batches": (1, 2), "prompt": 5, "new": 3},
    "attention": {"lengths": (256, 512), "square_to": 256, "heads": 2}
    | {"dim": 8, "window": 16},
    "on_lstm": {"batch": 2, "length": 5, "width": 4, "units": 6}
    | {"levels": 3, "steps": 2},
    "diffusion": {"network": {"widths": (8, 16), "blocks": 1}, "images": 2}
    | {"stride": 500},
    "train_large": {"sizes": TINY, "batch": 3, "length": 5, "steps": 2},
}
# of the time: mostly that of compilers
SHARES = {
    "train_base": 50,
    "decode": 60,
    "attention": 40,
    "on_lstm": 10,
    "diffusion": 15,
    "train_large": 50,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What all sections share.

    Attributes:
        rounds: the greatest number of rounds.
        budget: the `Budget`.
        flops, bandwidth: peaks of the device, or None.
    """

    rounds: int
    budget: Budget
    flops: float | None
    bandwidth: float | None


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if keras.config.backend() != "jax":
        raise SystemExit(
            "This benchmark needs KERAS_BACKEND=jax. "
            f"Received: {keras.config.backend()}"
        )
    device = _device(given)
    flops, bandwidth = peaks(
        device["kind"], given.peak_flops, given.peak_bandwidth
    )
    if None in (flops, bandwidth):
        print(
            f"The peaks of '{device['kind']}' are not known: shares of them "
            "need --peak-flops and --peak-bandwidth"
        )
    result = {
        **circumstances("keras", "jax", "jaxlib", "numpy"),
        "accelerator": {
            **device,
            "peak_flops": flops,
            "peak_bandwidth": bandwidth,
        },
        "sections": {},
    }
    settings = SMOKE if given.smoke else SETTINGS
    limit = None if given.smoke else given.seconds
    budget = Budget(
        math.inf if given.smoke else given.seconds,
        {name: SHARES[name] for name in given.sections},
    )
    run = Run(given.rounds, budget, flops, bandwidth)

    def last_words():
        done = ", ".join(result["sections"]) or "nothing"
        return f"Stopped after {limit:.0f} s. Finished: {done}"

    with killed_after(limit, last_words):
        for name in given.sections:
            result["sections"][name] = _section(name, settings[name], run)
            if given.json:
                record(given.json, "jax", result)
            gc.collect()  # gigabytes of weights
    if given.json:
        print(f"Written to {given.json}")
    failed = [
        f"{name}, {part}"
        for name, parts in result["sections"].items()
        for part, found in parts.items()
        if "failed" in found
    ]
    if failed:
        raise SystemExit(f"Failed: {'; '.join(failed)}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sections", nargs="+", choices=SETTINGS, default=[*SETTINGS]
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="limit of all sections"
    )
    parser.add_argument("--peak-flops", type=float, help="in bfloat16, per s")
    parser.add_argument("--peak-bandwidth", type=float, help="bytes per s")
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    given.sections = list(dict.fromkeys(given.sections))
    if given.smoke:
        given.rounds = 1
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/gpu.json")
    return given


def _device(given):
    """Returns the name and the platform of the device, a dict."""
    import jax

    device = jax.devices()[0]
    if device.platform != "gpu" and not given.smoke:
        raise SystemExit(
            "This benchmark measures a GPU, and only --smoke runs without "
            f"one. Received: {device.platform}"
        )
    return {"kind": device.device_kind, "platform": device.platform}


def _section(name, setting, run):
    """Measures the parts of a section, and returns a dict of their results.

    A part that the device cannot run, such as one that needs more memory than
    it has, leaves a message instead.
    """
    import jax

    start, found = time.perf_counter(), {}
    seconds = run.budget.start(name)
    print(f"== {name}: has {seconds:.0f} s", flush=True)
    for part, measure in SECTIONS[name](setting, run):
        if run.budget.over:
            found[part] = {"skipped": "no time left"}
        else:
            try:
                found[part] = measure()
            except jax.errors.JaxRuntimeError as error:
                found[part] = {"failed": str(error).split("\n")[0]}
        for line in lines(found[part]):
            print(f"{name}, {part}: {line}", flush=True)
    took = time.perf_counter() - start
    print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
    return found


def lines(found):
    """Returns the lines that tell a result of a part."""
    for reason in ("skipped", "failed"):
        if reason in found:
            return [f"{reason}: {found[reason]}"]
    told = []
    for key, value in found.items():
        if isinstance(value, dict) and "median_ms" in value:
            more = [
                f"{other.replace('_', ' ')} {number:.4g}"
                for other, number in value.items()
                if isinstance(number, float) and other != "median_ms"
            ]
            told.append(
                ", ".join([f"{key}: {value['median_ms']:.3f} ms", *more])
            )
    return told


@contextlib.contextmanager
def policy(name):
    """Sets Keras' dtype policy within a block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def language_model(sizes, dtype):
    """Returns a RoFormer that gives logits, with the head of BERT.

    Args:
        sizes: arguments of `build_transformer_model`.
        dtype: name of the dtype policy.
    """
    keras.utils.set_random_seed(SEED)
    with policy(dtype):
        return build_transformer_model(
            model="roformer", application="lm", with_mlm="linear", **sizes
        )


def timed(first, seconds, count, **rates):
    """Returns what is written of one function that was measured.

    Args:
        first: seconds of its first run.
        seconds: list of seconds, one per round.
        count: int, the number of steps in a round.
        **rates: numbers of something in a step, which become numbers of it
            per second, by their names.
    """
    median = statistics.median(seconds) / count
    return {
        "first_run_seconds": first,
        "median_ms": 1e3 * median,
        **{f"{name}_per_second": n / median for name, n in rates.items()},
        "seconds": [s / count for s in seconds],
    }


# ---- training


def train(setting, run):
    """Yields the training of a language model."""
    batch, length = setting["batch"], setting["length"]
    yield f"{batch} x {length}", functools.partial(_train, setting, run)


def _train(setting, run):
    sizes, batch, length = (setting[k] for k in ("sizes", "batch", "length"))
    steps = setting["steps"]
    model = language_model(sizes, "mixed_bfloat16")
    model.compile(
        keras.optimizers.Adam(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
    )
    ids = np.random.default_rng(SEED).integers(
        1, sizes["vocab_size"], (steps * batch, length + 1), "int32"
    )
    x = [ids[:, :-1], np.zeros_like(ids[:, :-1])]
    fit = fitted(model, x, ids[:, 1:], batch)
    first = first_runs({"step": fit})["step"]
    seconds = measured_rounds({"step": fit}, run.rounds, run.budget, SEED)
    tokens = batch * length
    flops = tokens * training_flops(sizes, length)
    step = timed(first, seconds["step"], steps, tokens=tokens, flops=flops)
    step["flop_utilization"] = share(step["flops_per_second"], run.flops)
    return {"sizes": sizes, "step": step}


def fitted(model, x, y, batch):
    """Returns a function that trains on all batches, and waits for the device.

    It exits if the loss is not finite.
    """
    import jax

    def run():
        history = model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)
        jax.block_until_ready([v.value for v in model.variables])
        (loss,) = history.history["loss"]
        if not math.isfinite(loss):
            raise SystemExit(f"Training diverged. Received: loss={loss}")

    return run


# ---- decoding


def decode(setting, run):
    """Yields decoding in batches of several sizes, by one model."""
    model = language_model(setting["sizes"], "bfloat16")
    for batch in setting["batches"]:
        part = functools.partial(_decode, model, batch, setting, run)
        yield f"batch {batch}", part


def _decode(model, batch, setting, run):
    sizes, prompt, new = (setting[k] for k in ("sizes", "prompt", "new"))
    prompts = np.random.default_rng(SEED).integers(
        1, sizes["vocab_size"], (batch, prompt), "int32"
    )

    def call():  # returns arrays of NumPy, so the device has finished
        found = generate(model, prompts, max_new_tokens=new)
        if found.shape != (batch, new):
            raise SystemExit(f"Received: ids of shape {found.shape}")

    first = first_runs({"step": call})["step"]
    seconds = measured_rounds({"step": call}, run.rounds, run.budget, SEED)
    context = prompt + (new - 1) / 2  # mean over the steps
    read = decoding_bytes(sizes, batch, context)
    step = timed(first, seconds["step"], new, tokens=batch, bytes=read)
    step["bandwidth_share"] = share(step["bytes_per_second"], run.bandwidth)
    return {"sizes": sizes, "prompt": prompt, "new": new, "step": step}


# ---- attention


def attention(setting, run):
    """Yields both directions at each length, forward first."""
    implementation, reason = jax_implementation(setting)
    print(f"JAX' attention is computed by {implementation}{reason}")
    for direction in (FORWARD, BACKWARD):
        for n in setting["lengths"]:
            part = functools.partial(
                _attention, n, direction, implementation, setting, run
            )
            yield f"{n} tokens, {direction}", part


def jax_implementation(setting):
    """Returns "cudnn" where it compiles, otherwise "xla", and the reason.

    The gradient is compiled, which includes the forward pass.
    """
    import jax

    x = tensors(min(setting["lengths"]), setting)
    try:
        for name in (WINDOWED, DENSE):
            call = gradients(attention_call(name, "cudnn", setting))
            jax.jit(call).lower(*x).compile()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return "xla", f", since cuDNN does not run: {error}".split("\n")[0]
    return "cudnn", ""


def tensors(n, setting):
    """Returns q, k and v, bfloat16 `(1, n, heads, dim)`."""
    import jax.numpy as jnp

    shape = 3, 1, n, setting["heads"], setting["dim"]
    random = np.random.default_rng(SEED)
    x = random.normal(size=shape).astype("float32")
    return [jnp.asarray(t, "bfloat16") for t in x]


def attention_call(name, implementation, setting):
    """Returns a function of q, k, v that computes causal attention."""
    import jax

    window = setting["window"]
    if name == OURS:
        return lambda q, k, v: local_attention(q, k, v, window, causal=True)
    return functools.partial(
        jax.nn.dot_product_attention,
        is_causal=True,
        local_window_size=(window, 0) if name == WINDOWED else None,
        implementation=implementation,
    )


def _attention(n, direction, implementation, setting, run):
    import jax

    names = [OURS]
    if n <= setting["square_to"] or implementation == "cudnn":
        names.append(WINDOWED)
    if n <= setting["square_to"]:
        names.append(DENSE)
    x = tensors(n, setting)
    calls = {}
    for name in names:
        call = attention_call(name, implementation, setting)
        call = call if direction == FORWARD else gradients(call)
        calls[name] = functools.partial(jax.jit(call), *x)
    first = first_runs(
        {
            name: lambda call=call: jax.block_until_ready(call())
            for name, call in calls.items()
        }
    )
    found = {"implementation": implementation}
    if n == min(setting["lengths"]):
        found["largest_difference"] = largest_difference(
            calls[OURS](), calls[WINDOWED]()
        )
    queues = {name: queued(call) for name, call in calls.items()}
    seconds = measured_rounds(
        {name: queue for name, (queue, _) in queues.items()},
        run.rounds,
        run.budget,
        SEED,
    )
    for name in names:
        _, count = queues[name]
        row = timed(first[name], seconds[name], count, tokens=n)
        found[name] = row
        row["ratio"] = row["median_ms"] / found[OURS]["median_ms"]
    return found


def gradients(call):
    """Returns a function of q, k, v to the gradients of a weighted sum."""
    import jax
    import jax.numpy as jnp

    def loss(q, k, v):
        y = call(q, k, v).astype("float32")
        return jnp.sum(y * q[:, ::-1].astype("float32"))

    return jax.grad(loss, argnums=(0, 1, 2))


def largest_difference(ours, theirs):
    """Returns the largest difference relative to the largest value.

    It exits if the difference is above `TOLERANCE`.
    """
    worst = 0.0
    pairs = zip(
        keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True
    )
    for a, b in pairs:
        a, b = (np.asarray(x, "float32") for x in (a, b))
        found = float(np.abs(a - b).max() / np.abs(b).max())
        if not found <= TOLERANCE:
            raise SystemExit(
                f"'{OURS}' and '{WINDOWED}' compute different things. "
                f"Received: relative difference={found:.1e}"
            )
        worst = max(worst, found)
    return worst


def queued(call):
    """Returns a function that calls repeatedly, and the number of calls.

    The calls are queued on the device, which is waited for only at the end:
    a single call may take less time than starting it.
    """
    import jax

    start = time.perf_counter()
    jax.block_until_ready(call())
    once = time.perf_counter() - start
    count = min(MOST_CALLS, math.ceil(MIN_SECONDS / once))

    def queue():
        for _ in range(count):
            result = call()
        jax.block_until_ready(result)

    return queue, count


# ---- ON-LSTM and diffusion


def on_lstm(setting, run):
    """Yields training steps of ON-LSTM and of an LSTM."""
    batch, length, units = (setting[k] for k in ("batch", "length", "units"))
    part = functools.partial(_on_lstm, setting, run)
    yield f"{batch} x {length}, {units} units", part


def _on_lstm(setting, run):
    batch, length, width = (setting[k] for k in ("batch", "length", "width"))
    units, steps = setting["units"], setting["steps"]
    random = np.random.default_rng(SEED)
    x, y = (
        random.normal(size=(steps * batch, length, n)).astype("float32")
        for n in (width, units)
    )
    keras.utils.set_random_seed(SEED)
    with policy("mixed_bfloat16"):
        layers = {
            "su_models, ONLSTM": ONLSTM(
                units, setting["levels"], return_sequences=True
            ),
            "keras LSTM": keras.layers.LSTM(
                units, return_sequences=True, use_cudnn=False
            ),
        }
    peers = {}
    for name, layer in layers.items():
        inputs = keras.Input((length, width))
        model = keras.Model(inputs, layer(inputs))
        model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=True)
        peers[name] = fitted(model, x, y, batch)
    first = first_runs(peers)
    seconds = measured_rounds(peers, run.rounds, run.budget, SEED)
    return {
        name: timed(first[name], seconds[name], steps, tokens=batch * length)
        for name in peers
    }


def diffusion(setting, run):
    """Yields sampling of images."""
    part = functools.partial(_diffusion, setting, run)
    yield f"{setting['images']} images", part


def _diffusion(setting, run):
    keras.utils.set_random_seed(SEED)
    with policy("mixed_bfloat16"):
        net = build_ddpm("mnist", **setting["network"])
    sampler = DDIM(NoiseSchedule.author(1000), setting["stride"])
    images = setting["images"]
    shape = (images, *net.input_shape[0][1:])
    noise = np.random.default_rng(SEED).normal(size=shape).astype("float32")

    def call():
        found = np.asarray(sampler(net, noise))
        if not np.isfinite(found).all():
            raise SystemExit("The images are not finite")

    first = first_runs({"sampling": call})["sampling"]
    seconds = measured_rounds({"sampling": call}, run.rounds, run.budget, SEED)
    row = timed(first, seconds["sampling"], 1, images=images)
    return {"steps": len(sampler.times), "sampling": row}


SECTIONS = {
    "train_base": train,
    "train_large": train,
    "decode": decode,
    "attention": attention,
    "on_lstm": on_lstm,
    "diffusion": diffusion,
}


if __name__ == "__main__":
    main()
