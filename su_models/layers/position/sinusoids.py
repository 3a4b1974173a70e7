"""Sines and cosines of positions."""

import numpy as np
from keras import ops


def sinusoids(positions, dim, base=10000.0, dtype="float32"):
    """Returns sines and cosines in adjacent pairs, `(..., dim)`.

    Feature 2i of position k is sin(k θ_i), feature 2i+1 is cos(k θ_i), with
    θ_i = base^(-2i/dim): Eq. (1) of article 8130.

    Args:
        positions: numbers of any shape, which may be negative.
        dim: an even number of features.
        base: base of the geometric sequence of the θ_i.
        dtype: of the angles and of the result.
    """
    theta = base ** (-np.arange(0, dim, 2) / dim)  # (dim/2,)
    angles = ops.expand_dims(ops.cast(positions, dtype), -1)
    angles = angles * ops.cast(theta, dtype)  # (..., dim/2)
    pairs = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)
    return ops.reshape(pairs, (*ops.shape(angles)[:-1], dim))  # (..., dim)
