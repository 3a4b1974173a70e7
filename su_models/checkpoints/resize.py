"""Weights of one size from those of another."""

import math

import numpy as np

PAIR = 2  # neighbours that stay together: those that are rotated together


def resize(array, shape):
    """Returns an array of another shape and of the same norm.

    A longer axis has its pairs of entries repeated, each beside itself; a
    shorter one is cut off. This is what bert4keras does.

    Args:
        array: floats.
        shape: tuple of as many int.

    Returns:
        The array, in float32 at least: a norm may be larger than float16
        holds.

    Raises:
        ValueError: if an axis is empty, or an odd one is to become longer.
    """
    if 0 in array.shape:
        raise ValueError(
            "Only axes with entries can be resized. "
            f"Received: {array.shape} to become {tuple(shape)}"
        )
    if array.itemsize < np.dtype("float32").itemsize:
        array = array.astype("float32")
    size = np.linalg.norm(array)
    for axis, (old, new) in enumerate(zip(array.shape, shape, strict=True)):
        times = math.ceil(new / old)
        if times > 1:
            if old % PAIR:
                raise ValueError(
                    "Only an axis of even length can be made longer. "
                    f"Received: {array.shape} to become {tuple(shape)}"
                )
            pairs = np.arange(old).reshape(-1, PAIR)
            array = array.take(pairs.repeat(times, axis=0).ravel(), axis)
        array = array.take(np.arange(new), axis)
    found = np.linalg.norm(array)
    return array * (size / found) if found else array


def factor(layer, path, old, new):
    """Returns what a resized weight is multiplied with, as in bert4keras.

    Args:
        layer: the layer it belongs to.
        path: its place in the layer, such as "query/kernel".
        old, new: shapes, with heads merged.
    """
    part = path.partition("/")[0]
    if part in ("query", "key") and getattr(layer, "attention_scale", False):
        return (new[-1] / old[-1]) ** 0.25
    if hasattr(layer, "hidden_denses"):  # a feed-forward network
        name = getattr(layer.activation, "__name__", None)
        if part == "hidden_0" and name not in ("relu", "leaky_relu"):
            return (new[-1] / old[-1]) ** 0.5
        return (old[0] / new[0]) ** 0.5
    return 1.0
