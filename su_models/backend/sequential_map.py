"""A loop over compiled programs, whose length may be a tensor."""

from keras import ops

from su_models.backend.selection import require_backend


def sequential_map(fn, count, shape):
    """Stacks `fn(0), ..., fn(count - 1)`, computed one after the other.

    Use it if `fn` is itself a large program. On TensorFlow `keras.ops.map`
    computes `fn` once more than necessary, and in a graph it computes ten
    calls at once, with ten times the memory.

    Args:
        fn: a function of an int32 number that returns a float32 tensor of
            shape `shape`.
        count: int, or, on TensorFlow, an int32 scalar tensor. A negative
            number counts as 0.
        shape: ints, the shape of one result.

    Returns:
        A float32 tensor `(count, *shape)`.

    Raises:
        NotImplementedError: for a tensor `count` on another backend.
    """
    if not ops.is_tensor(count):
        done = [fn(k) for k in range(count)]
        return ops.stack(done) if done else ops.zeros((0, *shape), "float32")
    require_backend("A loop of unknown length", "tensorflow")
    import tensorflow as tf

    return tf.map_fn(
        fn,
        tf.range(tf.maximum(count, 0)),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )
