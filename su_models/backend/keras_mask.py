"""The Keras mask of a tensor, on every backend."""

import keras
from keras import ops

from su_models.backend.selection import runs_on


def mask_of(x):
    """Returns the Keras mask of a tensor, or None."""
    if not ops.is_tensor(x):
        return None
    if not runs_on("jax"):
        return getattr(x, "_keras_mask", None)
    # under jit and grad tensors have no attributes, so Keras stores masks
    # elsewhere and passes them to layers
    seen = []

    def look(x, mask=None):
        seen.append(mask)
        return x

    _layer(x, look, lambda x, mask: mask)(x)
    return seen[0]


def with_mask(x, mask):
    """Returns `x` with another Keras mask, as if a layer had computed it."""
    if not runs_on("jax"):
        x._keras_mask = mask
        return x
    # Keras keeps the mask of a tensor that has one: this is a new tensor
    return _layer(x, ops.copy, lambda *_: mask)(x)


def _layer(x, function, mask):
    dtype = keras.backend.standardize_dtype(x.dtype)
    return keras.layers.Lambda(function, mask=mask, dtype=dtype)
