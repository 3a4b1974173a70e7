"""DDIM in 50 steps: the library's compiled loop and alternatives.

Draws 64 images with `su_models.sampling.DDIM` (stride 20, leading, η = 0)
and the networks `build_ddpm("digits")` and `build_ddpm("mnist")`, random
weights, float32, and measures the whole call, from a NumPy array of noise to
one of images. The same run also measures:

* `predict`: a Python loop over `model.predict` with the update in NumPy, as
  in the author's code; on TensorFlow also with XLA, which Keras does not use
  there by default.
* `step`: a Python loop over one compiled function of network and update, by
  `tf.function` with and without XLA, or by `jax.jit`.
* `diffusers`: its `DDIMScheduler` with a PyTorch module of the same layers
  and weights, in inference mode: eager, with `channels_last` if there are
  convolutions, and with `torch.compile`.

All must draw the same images, to 1e-4 of the largest value, before anything
is measured. One compiled training step is also measured.

    KERAS_BACKEND=tensorflow python -m benchmarks.ddpm_sampling
    KERAS_BACKEND=jax python -m benchmarks.ddpm_sampling

The seed is 0. benchmarks/README.md lists results with dates and devices.
"""

import argparse
import pathlib
import statistics
import sys
import time

import torch  # must precede TensorFlow

# isort: split
import keras
import numpy as np
from diffusers import DDIMScheduler

from benchmarks.common.timing import (
    alternate,
    circumstances,
    record,
    show,
    summarize,
)
from benchmarks.common.torch_graph import to_torch
from su_models.data import load
from su_models.models import build_ddpm, build_ddpm_trainer
from su_models.optimizers import Lookahead
from su_models.sampling import DDIM, NoiseSchedule

SEED = 0
BATCH = 64
TIMESTEPS = 1000
STRIDE = 20
SMOKE_STRIDE = 250
TOLERANCE = 1e-4  # of the largest value
TRAIN_STEPS = 100
OURS = "su_models, compiled loop"
BACKEND = keras.config.backend()

# sizes of a smoke run, which only shows that the script works
TINY = {
    "digits": {"widths": (32,), "blocks": 1},
    "mnist": {"widths": (8, 16), "blocks": 1},
}


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if BACKEND == "torch":
        raise SystemExit(
            "The compiled loop needs KERAS_BACKEND=tensorflow or jax. "
            f"Received: {BACKEND}"
        )
    torch.set_num_threads(given.threads)
    result = circumstances("keras", BACKEND, "torch", "diffusers", "numpy")
    for name in given.networks:
        result[name] = _sampling(name, given)
    result["train"] = _training(given)
    if given.json:
        record(given.json, BACKEND, result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", choices=TINY, default=[*TINY])
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="PyTorch's"
    )
    parser.add_argument(
        "--no-torch-compile",
        action="store_true",
        help="leave out the peer that takes a minute to start",
    )
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    if given.smoke:
        given.rounds, given.no_torch_compile = 1, True
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/ddpm_sampling.json")
    return given


def _sampling(name, given):
    """Measures one network."""
    batch = 4 if given.smoke else BATCH
    net = build_ddpm(name, **(TINY[name] if given.smoke else {}))
    randomize(net)
    stride = SMOKE_STRIDE if given.smoke else STRIDE
    sampler = DDIM(NoiseSchedule.author(TIMESTEPS), stride)
    shape = (batch, *net.input_shape[0][1:])
    noise = np.random.default_rng(SEED).normal(size=shape).astype("float32")
    peers = {
        OURS: lambda: _numpy(sampler(net, noise)),
        **predict_loops(net, sampler, noise),
        **STEP_LOOPS[BACKEND](net, sampler, noise),
        **diffusers_loops(net, sampler, noise, not given.no_torch_compile),
    }
    images, first = {}, {}
    for k, peer in peers.items():
        start = time.perf_counter()
        images[k] = peer()
        first[k] = time.perf_counter() - start
        print(f"{name}, {k}: first run {first[k]:.1f} s", file=sys.stderr)
    difference = largest_difference(images)
    seconds = alternate(peers, given.rounds, SEED)
    summary = summarize(seconds, OURS)
    title = f"{name}, {batch} images, {BACKEND}, {given.rounds} rounds"
    show(f"{title}: DDIM in {len(sampler.times)} steps", summary)
    return {
        "batch": batch,
        "steps": len(sampler.times),
        "first_run_seconds": first,
        "largest_difference": difference,
        "torch_threads": given.threads,
        "summary": summary,
        "seconds": seconds,
    }


def randomize(net, seed=SEED):
    """Perturbs all weights, since some layers are initialized with zeros."""
    random = np.random.default_rng(seed)
    for v in net.trainable_variables:
        fan_in = np.prod(v.shape[:-1]) if len(v.shape) > 1 else 25
        change = 0.5 * random.normal(size=v.shape) / np.sqrt(fan_in)
        v.assign(_numpy(v) + change)


def largest_difference(images):
    """Returns the largest relative difference; rejects a large one."""
    ours = images[OURS]
    if not np.isfinite(ours).all() or ours.std() < 1e-3:
        raise SystemExit(f"No images to compare. Received: std={ours.std()}")
    worst = 0.0
    for name, image in images.items():
        found = np.abs(image - ours).max() / np.abs(ours).max()
        if not found <= TOLERANCE:
            raise SystemExit(
                f"'{name}' draws other images than '{OURS}'. "
                f"Received: relative difference={found:.1e}"
            )
        worst = max(worst, float(found))
    return worst


# ---- peers: dicts from names to functions that return the images


def predict_loops(net, sampler, noise):
    """Loops over `predict`, as in the author's code."""
    times, table = sampler.times, sampler.table.astype("float32")

    def twin(jit):
        model = keras.Model(net.inputs, net.output)
        model.compile(jit_compile=jit)

        def run():
            x = noise
            for t, (a, b, _) in zip(times, table, strict=True):
                t = np.full(len(x), t, "int32")
                epsilon = model.predict([x, t], batch_size=len(x), verbose=0)
                x = a * x - b * epsilon
            return x

        return run

    loops = {"loop over predict": twin("auto")}
    if BACKEND == "tensorflow":  # where "auto" means no on a CPU
        loops["loop over predict, XLA"] = twin(True)
    return loops


def tensorflow_loops(net, sampler, noise):
    """Network and update in one `tf.function`, called for each step."""
    import tensorflow as tf

    def step(x, t, a, b):
        return a * x - b * net([x, t], training=False)

    def looped(function):
        def run():
            x = tf.constant(noise)
            for words in steps:
                x = function(x, *words)
            return x.numpy()

        return run

    steps = [
        (tf.fill(noise.shape[:1], tf.constant(t, "int32")), a, b)
        for t, (a, b) in _steps(sampler, tf.constant)
    ]
    plain = tf.function(step, autograph=False)
    xla = tf.function(step, autograph=False, jit_compile=True)
    return {
        "loop over tf.function": looped(plain),
        "loop over tf.function, XLA": looped(xla),
    }


def jax_loops(net, sampler, noise):
    """Network and update in one `jax.jit`, called for each step."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def step(trainable, others, x, t, a, b):
        epsilon, _ = net.stateless_call(
            trainable, others, [x, t], training=False
        )
        return a * x - b * epsilon

    steps = [
        (jnp.full(noise.shape[:1], t, "int32"), a, b)
        for t, (a, b) in _steps(sampler, jnp.float32)
    ]

    def run():
        # read again, since `predict` donates the old buffers
        trainable = [v.value for v in net.trainable_variables]
        others = [v.value for v in net.non_trainable_variables]
        x = jnp.asarray(noise)
        for words in steps:
            x = step(trainable, others, x, *words)
        return np.asarray(x)

    return {"loop over jax.jit": run}


STEP_LOOPS = {"tensorflow": tensorflow_loops, "jax": jax_loops}


def diffusers_loops(net, sampler, noise, compiled):
    """The loop of `diffusers` around the same network in PyTorch."""
    scheduler = DDIMScheduler(
        num_train_timesteps=sampler.schedule.num_steps,
        trained_betas=sampler.schedule.beta[1:] ** 2,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(len(sampler.times))
    if (scheduler.timesteps.numpy() + 1).tolist() != sampler.times.tolist():
        raise SystemExit(
            "diffusers visits other steps. Received: "
            f"timesteps={scheduler.timesteps.tolist()}"
        )

    def looped(network, memory_format):
        @torch.inference_mode()
        def run():
            x = torch.from_numpy(noise).permute(0, 3, 1, 2)
            x = x.contiguous(memory_format=memory_format)
            for t in scheduler.timesteps:
                epsilon = network(x, (t + 1).expand(len(x)))
                x = scheduler.step(epsilon, t, x).prev_sample
            return x.permute(0, 2, 3, 1).numpy()

        return run

    first, last = torch.contiguous_format, torch.channels_last
    peers = {"diffusers, PyTorch": looped(to_torch(net, first), first)}
    if any(isinstance(v, keras.layers.Conv2D) for v in net.layers):
        name = "diffusers, PyTorch channels_last"
        peers[name] = looped(to_torch(net, last), last)
    if compiled:
        network = torch.compile(to_torch(net, first), dynamic=False)
        peers["diffusers, torch.compile"] = looped(network, first)
    return peers


def _steps(sampler, convert):
    """Yields t and the factors of x and of the noise as backend scalars."""
    table = sampler.table.astype("float32")
    for t, (a, b, _) in zip(sampler.times, table, strict=True):
        yield t, (convert(a), convert(b))


def _numpy(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


# ---- training


def _training(given):
    """Measures a training step of the digits network: `fit`, compiled."""
    n = 2 if given.smoke else TRAIN_STEPS
    images = load("digits")["train"]["x"].astype("float32") / 8 - 1
    images = np.resize(images, (n * BATCH, *images.shape[1:]))
    net = build_ddpm("digits", **(TINY["digits"] if given.smoke else {}))
    schedule = NoiseSchedule.author(TIMESTEPS)
    trainer = build_ddpm_trainer(net, schedule, seed=SEED)
    trainer.compile(Lookahead(keras.optimizers.Adam(1e-3)), jit_compile=True)

    def steps():
        trainer.fit(images, batch_size=BATCH, shuffle=False, verbose=0)

    steps()
    seconds = [s / n for s in alternate({"": steps}, given.rounds)[""]]
    median = 1e3 * statistics.median(seconds)
    print(
        f"digits, {BACKEND}: one training step of {BATCH} images by fit with "
        f"Lookahead(Adam), jit_compile=True: {median:.2f} ms"
    )
    return {"batch": BATCH, "median_ms": median, "seconds": seconds}


if __name__ == "__main__":
    main()
