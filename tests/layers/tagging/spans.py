"""What the tests of both pointers share."""

import numpy as np

LOW = -1e12


def randomize(layer):
    for i, w in enumerate(layer.weights):
        w.assign(np.random.default_rng(i).normal(size=w.shape) / 2)


def rotate(x, m, base):
    """Article 8265: pairs of features as complex numbers."""
    d = len(x)
    y = np.empty(d)
    for i in range(d // 2):
        z = (x[2 * i] + 1j * x[2 * i + 1]) * np.exp(
            1j * m * base ** (-2 * i / d)
        )
        y[2 * i], y[2 * i + 1] = z.real, z.imag
    return y
