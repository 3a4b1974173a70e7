"""A loop around compiled programs whose length may be a tensor."""

from keras import ops

from su_models.backend.selection import require_backend


def sequential_map(fn, count, shape):
    """Stacks `fn(0), ..., fn(count - 1)`, computed one after the other.

    For an `fn` that is a large program by itself. `keras.ops.map` is not the
    same on TensorFlow: it computes `fn` once more than asked, and in a graph
    ten calls at once, with ten times the memory.

    Args:
        fn: a function of an int32 number that returns float32 `shape`.
        count: int, or, on TensorFlow, an int32 scalar tensor. Below 0 it
            counts as 0.
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
