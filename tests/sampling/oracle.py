"""Diffusion of data N(0, v), where everything is known."""

import numpy as np
from keras import ops


class GaussianDenoiser:
    """The exact predicted noise for independent entries N(0, variance).

    ε*(x, t) = β̄_t x / (ᾱ_t² v + β̄_t²), so that any sampler is linear.
    """

    def __init__(self, schedule, variance=1.0):
        a, b = schedule.bar_alpha, schedule.bar_beta
        self.gain = b / (a**2 * variance + b**2)  # (T + 1,)

    def __call__(self, x, t):
        gain = ops.take(ops.convert_to_tensor(self.gain, "float32"), t)
        return ops.reshape(gain, (-1,) + (1,) * (len(x.shape) - 1)) * x


def output_variance(sampler, variance=1.0):
    """Variance of x_0 for x_T of variance 1, by a loop in float64."""
    gain = GaussianDenoiser(sampler.schedule, variance).gain
    out = 1.0
    for t, (a, b, c) in zip(sampler.times, sampler.table, strict=True):
        out = (a - b * gain[t]) ** 2 * out + c**2
    return out


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")
