"""The loop of ON-LSTM, with a hand-written backward pass through time."""

import numpy as np
from keras import ops, tree

from su_models.backend.precision import (
    accumulated_matmul,
    accumulated_sum,
    sum_dtype,
)
from su_models.backend.time_loop import time_loop


def on_lstm(
    sequences,
    states,
    kernels,
    bias,
    levels,
    master_input,
    mask=None,
    reverse=False,
    training=False,
):
    """Returns outputs and last states of an ON-LSTM, with a fast gradient.

    Article: https://kexue.fm/archives/6621
        《ON-LSTM：用有序神经元表达层次结构》

    The equations, the columns and the precision are those of
    `layers.ONLSTMCell` with tanh and sigmoid; time is the first axis of all
    tensors.

    In training the forward loop keeps the gates, the softmaxes p, tanh(c) and
    the memory before each step. From these the backward loop computes dz, the
    gradient of the gates' arguments, without transcendental functions and
    with one product per step, dz Uᵀ. The other gradients are computed for all
    steps at once after the loop: dU = Σ hᵀ dz, dK = Σ xᵀ dz, db = Σ dz and
    dx = dz Kᵀ.

    Reverse-mode gradients of any order are supported. JAX's forward mode,
    `jvp`, is not supported with `training=True`.

    Args:
        sequences: `(length, batch, features)`.
        states: output and memory before the first step, `(batch, units)`.
        kernels: `(features, columns)` and `(units, columns)`.
        bias: `(columns,)` or None.
        levels: int that divides the units.
        master_input: `"su"` or `"paper"`.
        mask: optional booleans `(length, batch)`, True = real. The states
            are carried over the other steps.
        reverse: whether to begin with the last step.
        training: whether to keep the values for the backward loop. Without
            them the results and gradients are the same, but gradients are
            slow.

    Returns:
        Outputs `(length, batch, units)`, the last output, the last memory.

    Raises:
        NotImplementedError: on PyTorch.
    """
    kernel, recurrent_kernel = kernels
    if bias is None:
        bias = ops.zeros(kernel.shape[1:], kernel.dtype)
    tensors = [sequences, *states, kernel, recurrent_kernel, bias]
    if mask is not None:
        # floats: each backend treats gradients of booleans differently
        tensors.append(ops.cast(ops.expand_dims(mask, -1), "float32"))
    units = recurrent_kernel.shape[0]
    steps = _Steps(units, levels, master_input, reverse, training)
    if training:
        return ops.custom_gradient(steps.with_gradient)(*tensors)
    return steps.forward(*tensors)[0]


def level_softmax(z):
    """Returns Keras' softmax, without its warning for a single level."""
    return ops.softmax(z) if z.shape[-1] > 1 else ops.ones_like(z)


def master_gates(p, units, master_input, dtype):
    """Returns f̃ and ĩ for each neuron.

    Args:
        p: softmaxes over levels, `(batch, 2, levels)`, float32 or float64.
        units: int, the number of neurons.
        master_input: `"su"` or `"paper"`.
        dtype: dtype of the results. The sums have the dtype of p.

    Returns:
        Two tensors `(batch, units)`.
    """
    sums = ops.cumsum(p, axis=-1)  # (b, 2, levels)
    master_f, master_i = sums[:, 0], 1.0 - sums[:, 1]
    if master_input == "su":
        master_i = master_i + p[:, 1]
    # TensorFlow's XLA cannot compile the gradient of `ops.repeat`
    ones = ops.ones((1, 1, units // p.shape[-1]), dtype)
    master_f, master_i = (
        ops.reshape(ops.expand_dims(ops.cast(x, dtype), -1) * ones, (-1, units))
        for x in (master_f, master_i)
    )
    return master_f, master_i


class _Steps:
    """The forward and the backward loop."""

    def __init__(self, units, levels, master_input, reverse, keeping):
        self.units, self.levels, self.master_input = units, levels, master_input
        self.reverse, self.keeping = reverse, keeping
        # sigmoid(z) = tanh(z / 2) / 2 + 1/2, so one tanh serves four gates
        self.scale = np.repeat([0.5, 0.5, 1.0, 0.5], units)

    def forward(self, x, h, c, kernel, recurrent_kernel, bias, *real):
        """Returns the results, and the values that the backward loop needs."""
        weights = ops.concatenate([kernel, recurrent_kernel])
        scale = ops.cast(self.scale, weights.dtype)

        def step(states, inputs):
            (h, c), (x, *real) = states, inputs
            z = _product(ops.concatenate([x, h], axis=-1), weights) + bias
            a = _tanh(z[:, : 4 * self.units] * scale)  # (b, 4 units)
            z = ops.cast(z[:, 4 * self.units :], sum_dtype(z.dtype))
            p = level_softmax(ops.stack(ops.split(z, 2, axis=-1), axis=1))
            i, f, c_hat, o = _gates(a)
            keep, write, *_ = self._shares(i, f, p)
            new_c = keep * c + write * c_hat
            tanh_c = _tanh(new_c)
            new = _where(real, (o * tanh_c, new_c), states)
            return new, (new[0], (c, a, p, tanh_c) if self.keeping else ())

        inputs = (x, *(r > 0 for r in real))
        (h, c), (outputs, kept) = time_loop(step, inputs, (h, c), self.reverse)
        return (outputs, h, c), kept

    def with_gradient(self, *tensors):
        """Returns the results and a gradient function for custom_gradient."""
        results, kept = self.forward(*tensors)

        def gradient(*upstream):
            # TensorFlow passes three tensors, JAX a tuple of three
            d_results = tree.flatten(upstream)
            return self._backward(tensors, results[0], kept, d_results)

        return results, gradient

    def _backward(self, tensors, outputs, kept, d_results):
        x, h, c, kernel, recurrent_kernel, bias, *real = tensors
        dtype = recurrent_kernel.dtype
        # sums over time are at least float32, also in low precision
        wide = sum_dtype(dtype)
        d_outputs, d_h, d_c = (ops.cast(d, wide) for d in d_results)
        transposed = ops.transpose(recurrent_kernel)

        def step(states, inputs):
            d_output, kept, *real = inputs
            d_h, d_c = states = states[0] + d_output, states[1]
            d_new = _where(real, states, [ops.zeros_like(d) for d in states])
            kept = [ops.cast(x, wide) for x in kept]
            dz, d_c = self._step_back(*d_new, *kept)
            dz = ops.cast(dz, dtype)
            d_h = accumulated_matmul(dz, transposed)
            return _where(real, (d_h, d_c), states), dz

        inputs = (d_outputs, kept, *(r > 0 for r in real))
        (d_h, d_c), dz = time_loop(step, inputs, (d_h, d_c), not self.reverse)
        d_bias = accumulated_sum(dz, axis=(0, 1))
        return (
            _product(dz, ops.transpose(kernel)),
            ops.cast(d_h, dtype),
            ops.cast(d_c, dtype),
            _products(x, dz),
            _products(_before(outputs, h, self.reverse), dz),
            ops.cast(d_bias, dtype),
            *(ops.zeros_like(r) for r in real),
        )

    def _step_back(self, d_h, d_c, c, a, p, tanh_c):
        """Returns the gradients of the gates' arguments and of the memory."""
        i, f, c_hat, o = _gates(a)
        keep, write, master_f, master_i = self._shares(i, f, p)
        omega = master_f * master_i
        d_c = d_c + d_h * o * (1.0 - tanh_c * tanh_c)
        # derivatives of keep = ω f + f̃ - ω and write = ω i + ĩ - ω, ω = f̃ ĩ
        d_keep, d_write = d_c * c, d_c * c_hat
        d_omega = d_keep * (f - 1.0) + d_write * (i - 1.0)
        d_p = self._sums_back(
            d_keep + d_omega * master_i, d_write + d_omega * master_f
        )
        d_master = p * (d_p - ops.sum(p * d_p, axis=-1, keepdims=True))
        dz = [
            omega * d_write * i * (1.0 - i),
            omega * d_keep * f * (1.0 - f),
            write * d_c * (1.0 - c_hat * c_hat),
            d_h * tanh_c * o * (1.0 - o),
            d_master[:, 0],
            d_master[:, 1],
        ]
        return ops.concatenate(dz, axis=-1), keep * d_c

    def _sums_back(self, *d_gates):
        """Returns the gradient of p, given those of f̃ and ĩ."""
        shape = -1, 2, self.levels, self.units // self.levels
        d = ops.sum(ops.reshape(ops.stack(d_gates, axis=1), shape), axis=-1)
        # p of a level enters the sums of this level and of all above
        d_p = ops.flip(ops.cumsum(ops.flip(d, axis=-1), axis=-1), axis=-1)
        d_p_f, d_p_i = d_p[:, 0], -d_p[:, 1]
        if self.master_input == "su":
            d_p_i = d_p_i + d[:, 1]
        return ops.stack([d_p_f, d_p_i], axis=1)  # (b, 2, levels)

    def _shares(self, i, f, p):
        """Returns the factors of c and ĉ in Eq. (10), and f̃, ĩ."""
        master_f, master_i = master_gates(
            p, self.units, self.master_input, i.dtype
        )
        omega = master_f * master_i
        keep = omega * f + (master_f - omega)
        write = omega * i + (master_i - omega)
        return keep, write, master_f, master_i


def _tanh(x):
    """Returns tanh in the dtype of x; Keras on JAX casts float64 to float32."""
    return ops.cast(ops.tanh(x), x.dtype)


def _gates(a):
    """Returns i, f, ĉ and o, given their tanh."""
    i, f, c_hat, o = ops.split(a, 4, axis=-1)  # (b, units) each
    i, f, o = (0.5 * gate + 0.5 for gate in (i, f, o))
    return i, f, c_hat, o


def _where(real, new, old):
    """Returns the new tensors at real steps, and the old ones elsewhere."""
    if not real:
        return tuple(new)
    return tuple(
        ops.where(real[0], a, b) for a, b in zip(new, old, strict=True)
    )


def _before(outputs, first, reverse):
    """Returns the previous output of each step, at the step's position."""
    first = ops.expand_dims(first, 0)  # (1, b, units)
    parts = [outputs[1:], first] if reverse else [first, outputs[:-1]]
    return ops.concatenate(parts)


def _products(x, dz):
    """Returns Σ xᵀ dz over all steps and samples."""
    x, dz = (ops.reshape(t, (-1, t.shape[-1])) for t in (x, dz))
    return _product(ops.transpose(x), dz)


def _product(a, b):
    """Returns `a b` in their dtype; the sums inside are float32 or wider."""
    return accumulated_matmul(a, b, dtype=a.dtype)
