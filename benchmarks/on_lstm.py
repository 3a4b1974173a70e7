"""Training steps of ON-LSTM, of an LSTM and of a PyTorch loop.

One recurrent layer on random sequences, mean squared error, SGD, float32, by
`train_on_batch` with XLA. In addition to `su_models.layers.ONLSTM`, the same
run measures:

* `LSTM`: `keras.layers.LSTM(use_cudnn=False)` with equally many units,
  compiled in the same way. An ON-LSTM has 2 `levels` more columns in its
  kernels, and 2 more gates.
* `RNN(ONLSTMCell)`: the same cell in `keras.layers.RNN`, which projects the
  inputs inside the loop.
* `PyTorch loop`: the same cell in a Python loop in eager PyTorch, with inputs
  projected before and one matrix product per step.

The layer, the cell and PyTorch must have the same losses for three steps, to
1e-4, before anything is measured, so their gradients are also the same.

    KERAS_BACKEND=tensorflow python -m benchmarks.on_lstm
    KERAS_BACKEND=jax python -m benchmarks.on_lstm

The seed is 0. benchmarks/README.md lists results with dates and devices.
"""

import argparse
import pathlib
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
from su_models.layers import ONLSTM, ONLSTMCell

SEED = 0
TOLERANCE = 1e-4  # of the losses
LEARNING_RATE = 0.5
OURS, LOOP = "su_models, ONLSTM", "PyTorch loop"
SAME = "keras RNN(ONLSTMCell)"
BACKEND = keras.config.backend()

# batch, length, width of the inputs, units, levels
SIZES = {
    "small": (20, 35, 200, 200, 20),
    "long": (32, 96, 128, 256, 16),
    "narrow": (16, 64, 64, 64, 8),
    "paper": (20, 70, 400, 1150, 115),
}
SMOKE_SIZE = (3, 5, 4, 6, 3)


def main(words=None):
    """Runs the benchmark with the command line's arguments."""
    given = _arguments(words)
    if BACKEND == "torch":
        raise SystemExit(
            "The compiled step needs KERAS_BACKEND=tensorflow or jax. "
            f"Received: {BACKEND}"
        )
    torch.set_num_threads(given.threads)
    result = circumstances("keras", BACKEND, "torch", "numpy")
    for name in given.sizes:
        size = SMOKE_SIZE if given.smoke else SIZES[name]
        result[name] = measure(name, size, given)
    if given.json:
        record(given.json, BACKEND, result)
        print(f"Written to {given.json}")


def _arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--sizes", nargs="+", choices=SIZES, default=["small", "long", "narrow"]
    )
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="PyTorch's"
    )
    parser.add_argument("--json", type=pathlib.Path, help="where to write")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny, nothing written by default"
    )
    given = parser.parse_args(words)
    if given.smoke:
        given.rounds, given.sizes = 1, given.sizes[:1]
    elif given.json is None:
        given.json = pathlib.Path("runs/benchmarks/on_lstm.json")
    return given


def measure(name, size, given):
    """Checks and measures all implementations at one size."""
    batch, length, width, units, levels = size
    random = np.random.default_rng(SEED)
    x = random.normal(size=(batch, length, width)).astype("float32")
    y = random.normal(size=(batch, length, units)).astype("float32")
    steps = train_steps(x, y, levels)
    losses, first = {}, {}
    for key, step in steps.items():
        start = time.perf_counter()
        losses[key] = [step()]
        first[key] = time.perf_counter() - start
        losses[key] += [step(), step()]
        print(f"{name}, {key}: first run {first[key]:.1f} s", file=sys.stderr)
    difference = largest_difference(losses)
    seconds = alternate(steps, given.rounds, SEED)
    summary = summarize(seconds, OURS)
    show(
        f"{name}, {BACKEND}, {given.rounds} rounds: batch {batch}, length "
        f"{length}, {width} to {units} units, {levels} levels",
        summary,
    )
    return {
        "size": dict(
            zip(
                ("batch", "length", "width", "units", "levels"),
                size,
                strict=True,
            )
        ),
        "first_run_seconds": first,
        "largest_difference": difference,
        "torch_threads": given.threads,
        "summary": summary,
        "seconds": seconds,
    }


def largest_difference(losses):
    """Returns the largest relative difference of losses; rejects more."""
    ours, worst = np.array(losses[OURS]), 0.0
    if not (np.isfinite(ours).all() and (np.diff(ours) < 0).all()):
        raise SystemExit(f"Nothing is learned. Received: losses={ours}")
    for name in (SAME, LOOP):
        found = (np.abs(np.array(losses[name]) - ours) / ours).max()
        if not found <= TOLERANCE:
            raise SystemExit(
                f"'{name}' learns otherwise than '{OURS}'. "
                f"Received: relative difference={found:.1e}"
            )
        worst = max(worst, float(found))
    return worst


def train_steps(x, y, levels):
    """Returns a dict from names to functions that train and return a loss."""
    units = y.shape[-1]
    ours = ONLSTM(units, levels, return_sequences=True)
    cell = ONLSTMCell(units, levels)
    layers = {
        OURS: ours,
        "keras LSTM": keras.layers.LSTM(
            units, return_sequences=True, use_cudnn=False
        ),
        SAME: keras.layers.RNN(cell, return_sequences=True),
    }
    keras.utils.set_random_seed(SEED)
    steps = {name: keras_step(layer, x, y) for name, layer in layers.items()}
    weights = ours.get_weights()
    cell.set_weights(weights)
    steps[LOOP] = torch_step(weights, x, y, levels)
    return steps


def keras_step(layer, x, y):
    """Returns a compiled training step."""
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    optimizer = keras.optimizers.SGD(LEARNING_RATE)
    model.compile(optimizer, "mse", jit_compile=True)

    def step():
        # reset: a metric is a mean over calls
        model.reset_metrics()
        return float(model.train_on_batch(x, y))

    return step


def torch_step(weights, x, y, levels):
    """Returns the same step in PyTorch, a Python loop over time."""
    weights = [torch.tensor(w, requires_grad=True) for w in weights]
    optimizer = torch.optim.SGD(weights, LEARNING_RATE)
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    def step():
        optimizer.zero_grad()
        outputs = torch_on_lstm(x, *weights, levels)
        loss = torch.nn.functional.mse_loss(outputs, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_on_lstm(x, kernel, recurrent_kernel, bias, levels):
    """ON-LSTM with the author's master input gate: all outputs."""
    units = len(recurrent_kernel)
    h = c = x.new_zeros(len(x), units)
    z_x, outputs = x @ kernel + bias, []
    for t in range(x.shape[1]):
        z = z_x[:, t] + h @ recurrent_kernel
        i, f, c_hat, o = z[:, : 4 * units].chunk(4, dim=-1)
        i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
        p_f, p_i = z[:, 4 * units :].chunk(2, dim=-1)
        p_f, p_i = p_f.softmax(-1), p_i.softmax(-1)
        master_f = p_f.cumsum(-1)
        master_i = 1 - p_i.cumsum(-1) + p_i
        master_f, master_i = (
            gate.repeat_interleave(units // levels, dim=-1)
            for gate in (master_f, master_i)
        )
        omega = master_f * master_i
        c = (omega * f + master_f - omega) * c + (
            omega * i + master_i - omega
        ) * c_hat.tanh()
        h = o * c.tanh()
        outputs.append(h)
    return torch.stack(outputs, dim=1)


if __name__ == "__main__":
    main()
