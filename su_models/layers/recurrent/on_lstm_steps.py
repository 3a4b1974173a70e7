"""All steps of ON-LSTM, with a backward pass through time of its own."""

import numpy as np
from keras import ops, tree

from su_models.backend.precision import sum_dtype
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
    """Returns outputs and last states of an ON-LSTM, and learns fast.

    Article: https://kexue.fm/archives/6621
        《ON-LSTM：用有序神经元表达层次结构》

    The equations, the columns and the precision are those of
    `layers.ONLSTMCell` with tanh and sigmoid; all tensors begin with time.

    In training the forward loop keeps the gates, the softmaxes p, tanh(c) and
    the memory before each step. From these the backward loop finds dz, the
    gradient of the gates' arguments, without a transcendental function and
    with one product a step, dz Uᵀ. What else is needed is the same for all
    steps, and done after the loop at once: dU = Σ hᵀ dz, dK = Σ xᵀ dz,
    db = Σ dz and dx = dz Kᵀ.

    It gives reverse-mode gradients of any order. JAX's forward mode, `jvp`,
    has none with `training=True`.

    Args:
        sequences: `(length, batch, features)`.
        states: output and memory before the first step, `(batch, units)`.
        kernels: `(features, columns)` and `(units, columns)`.
        bias: `(columns,)` or None.
        levels: int that divides the units.
        master_input: `"su"` or `"paper"`.
        mask: optional booleans `(length, batch)`, True = real. Other steps
            repeat the states.
        reverse: whether to begin with the last step.
        training: whether to keep what the backward loop needs. The results
            and their gradients are the same, without it gradients are slow.

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
        # floats: booleans have gradients of another kind on each backend
        tensors.append(ops.cast(ops.expand_dims(mask, -1), "float32"))
    units = recurrent_kernel.shape[0]
    steps = _Steps(units, levels, master_input, reverse, training)
    if training:
        return ops.custom_gradient(steps.with_gradient)(*tensors)
    return steps.forward(*tensors)[0]


def level_softmax(z):
    """Keras' own, which warns of an axis of size 1: there is one level."""
    return ops.softmax(z) if z.shape[-1] > 1 else ops.ones_like(z)


def master_gates(p, units, master_input, dtype):
    """Returns f̃ and ĩ for each neuron.

    Args:
        p: softmaxes over levels, `(batch, 2, levels)`, float32 or float64.
        units: int, the number of neurons.
        master_input: `"su"` or `"paper"`.
        dtype: of the results. They are summed in that of p.

    Returns:
        Two tensors `(batch, units)`.
    """
    sums = ops.cumsum(p, axis=-1)
    master_f, master_i = sums[:, 0], 1.0 - sums[:, 1]
    if master_input == "su":
        master_i = master_i + p[:, 1]
    # not ops.repeat, whose gradient TensorFlow's XLA does not compile
    ones = ops.ones((1, 1, units // p.shape[-1]), dtype)
    master_f, master_i = (
        ops.reshape(ops.expand_dims(ops.cast(x, dtype), -1) * ones, (-1, units))
        for x in (master_f, master_i)
    )
    return master_f, master_i


class _Steps:
    """Both loops, without the tensors that they are given."""

    def __init__(self, units, levels, master_input, reverse, keeping):
        self.units, self.levels, self.master_input = units, levels, master_input
        self.reverse, self.keeping = reverse, keeping
        # sigmoid(z) = tanh(z / 2) / 2 + 1/2: one tanh for the four gates
        self.scale = np.repeat([0.5, 0.5, 1.0, 0.5], units)

    def forward(self, x, h, c, kernel, recurrent_kernel, bias, *real):
        """Returns the results, and what the backward loop needs of a step."""
        weights = ops.concatenate([kernel, recurrent_kernel])
        scale = ops.cast(self.scale, weights.dtype)

        def step(states, inputs):
            (h, c), (x, *real) = states, inputs
            z = ops.matmul(ops.concatenate([x, h], axis=-1), weights) + bias
            a = ops.tanh(z[:, : 4 * self.units] * scale)
            z = ops.cast(z[:, 4 * self.units :], sum_dtype(z.dtype))
            p = level_softmax(ops.stack(ops.split(z, 2, axis=-1), axis=1))
            i, f, c_hat, o = _gates(a)
            keep, write, *_ = self._shares(i, f, p)
            new_c = keep * c + write * c_hat
            tanh_c = ops.tanh(new_c)
            new = _where(real, (o * tanh_c, new_c), states)
            return new, (new[0], (c, a, p, tanh_c) if self.keeping else ())

        inputs = (x, *(r > 0 for r in real))
        (h, c), (outputs, kept) = time_loop(step, inputs, (h, c), self.reverse)
        return (outputs, h, c), kept

    def with_gradient(self, *tensors):
        """Returns the results and their gradient, for `custom_gradient`."""
        results, kept = self.forward(*tensors)

        def gradient(*upstream):
            # TensorFlow gives three tensors, JAX a tuple of three
            d_results = tree.flatten(upstream)
            return self._backward(tensors, results[0], kept, d_results)

        return results, gradient

    def _backward(self, tensors, outputs, kept, d_results):
        x, h, c, kernel, recurrent_kernel, bias, *real = tensors
        dtype = recurrent_kernel.dtype
        # sums over time are float32 in low precision too
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
            d_h = ops.cast(ops.matmul(dz, transposed), wide)
            return _where(real, (d_h, d_c), states), dz

        inputs = (d_outputs, kept, *(r > 0 for r in real))
        (d_h, d_c), dz = time_loop(step, inputs, (d_h, d_c), not self.reverse)
        d_bias = ops.sum(ops.cast(dz, wide), axis=(0, 1))
        return (
            ops.matmul(dz, ops.transpose(kernel)),
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
        # of keep = ω f + f̃ - ω and write = ω i + ĩ - ω, where ω = f̃ ĩ
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
        # p of a level is part of the sums at it and above
        d_p = ops.flip(ops.cumsum(ops.flip(d, axis=-1), axis=-1), axis=-1)
        d_p_f, d_p_i = d_p[:, 0], -d_p[:, 1]
        if self.master_input == "su":
            d_p_i = d_p_i + d[:, 1]
        return ops.stack([d_p_f, d_p_i], axis=1)

    def _shares(self, i, f, p):
        """Returns what c and ĉ are multiplied with in Eq. (10), and f̃, ĩ."""
        master_f, master_i = master_gates(
            p, self.units, self.master_input, i.dtype
        )
        omega = master_f * master_i
        keep = omega * f + (master_f - omega)
        write = omega * i + (master_i - omega)
        return keep, write, master_f, master_i


def _gates(a):
    """Returns i, f, ĉ and o, given their tanh."""
    i, f, c_hat, o = ops.split(a, 4, axis=-1)
    i, f, o = (0.5 * gate + 0.5 for gate in (i, f, o))
    return i, f, c_hat, o


def _where(real, new, old):
    """Returns new tensors, the old ones where a step is not real."""
    if not real:
        return tuple(new)
    return tuple(
        ops.where(real[0], a, b) for a, b in zip(new, old, strict=True)
    )


def _before(outputs, first, reverse):
    """Returns the output before each step, at the step's place."""
    first = ops.expand_dims(first, 0)
    parts = [outputs[1:], first] if reverse else [first, outputs[:-1]]
    return ops.concatenate(parts)


def _products(x, dz):
    """Returns Σ xᵀ dz over all steps and samples."""
    x, dz = (ops.reshape(t, (-1, t.shape[-1])) for t in (x, dz))
    return ops.matmul(ops.transpose(x), dz)
