"""Merges inputs with the embeddings of their positions."""

import keras
from keras import ops

from su_models.utils.checks import check_choice

MERGE_MODES = ("add", "mul", "concat", "zero")


def merge_positions(inputs, embeddings, mode, dtype):
    """Returns inputs merged with position embeddings.

        add     x + p
        mul     x (1 + p)
        concat  [x, p]
        zero    p, as if the inputs were zero

    Args:
        inputs: `(batch, length, dim)`.
        embeddings: `(length, dim)` or `(batch, length, dim)`.
        mode: one of the four names.
        dtype: of the result.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    inputs = ops.cast(inputs, dtype)  # they may be integers
    embeddings = ops.cast(embeddings, dtype)
    if mode == "add":
        return ops.add(inputs, embeddings)
    if mode == "mul":
        return ops.multiply(inputs, 1 + embeddings)
    # a sum, since TensorFlow's XLA cannot broadcast to an unknown batch size
    embeddings = ops.zeros_like(inputs[..., :1]) + embeddings
    if mode == "zero":
        return embeddings
    return ops.concatenate([inputs, embeddings], axis=-1)


def check_merge_mode(mode, features, dim):
    """Returns the name of a mode, after checking it against the sizes.

    Args:
        mode: one of `MERGE_MODES`, or the function `keras.layers.add`, which
            Keras passes instead of "add" when it restores a `.h5` file.
        features: number of features of the inputs.
        dim: size of an embedding.

    Raises:
        ValueError: if `mode` is not in `MERGE_MODES`, or if it adds or
            multiplies and `dim` differs from the `features` of the inputs.
    """
    mode = "add" if mode is keras.layers.add else mode
    check_choice("merge_mode", mode, MERGE_MODES)
    if mode in ("add", "mul") and dim != features:
        raise ValueError(
            f"`output_dim` must be {features}, the number of features of the "
            f"inputs, for merge_mode={mode!r}. Received: output_dim={dim}"
        )
    return mode
