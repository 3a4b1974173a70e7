"""Inputs and embeddings of their positions, made one."""

from keras import ops

MERGE_MODES = ("add", "mul", "concat", "zero")


def merge_positions(inputs, embeddings, mode):
    """Returns inputs that know where they stand.

        add     x + p
        mul     x (1 + p)
        concat  [x, p]
        zero    p alone, as if the inputs were zero

    Args:
        inputs: `(batch, length, dim)`.
        embeddings: `(length, dim)` or `(batch, length, dim)`.
        mode: one of the four names.
    """
    embeddings = ops.cast(embeddings, inputs.dtype)
    if mode == "add":
        return ops.add(inputs, embeddings)
    if mode == "mul":
        return ops.multiply(inputs, 1 + embeddings)
    # by a sum: TensorFlow's XLA cannot broadcast to a batch of unknown size
    embeddings = ops.zeros_like(inputs[..., :1]) + embeddings
    if mode == "zero":
        return embeddings
    return ops.concatenate([inputs, embeddings], axis=-1)


def check_merge_mode(mode, features, dim):
    """Refuses an unknown mode, and embeddings that cannot be merged.

    Raises:
        ValueError: if `mode` is not of `MERGE_MODES`, or if it adds or
            multiplies and `dim` differs from the `features` of the inputs.
    """
    if mode not in MERGE_MODES:
        raise ValueError(
            f"`merge_mode` must be one of {MERGE_MODES}. "
            f"Received: merge_mode={mode!r}"
        )
    if mode in ("add", "mul") and dim != features:
        raise ValueError(
            f"`output_dim` must be the {features} features of the inputs for "
            f"merge_mode={mode!r}. Received: output_dim={dim}"
        )
