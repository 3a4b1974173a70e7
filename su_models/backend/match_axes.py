"""Tensors whose axes must match: nothing is broadcast."""

import keras
from keras import ops

from su_models.backend.selection import runs_on
from su_models.utils.checks import check_shape


def match_shape(name, tensor, like):
    """Returns `tensor`, which must have the shape of another.

    Args:
        name: the argument's name, for the message.
        tensor: what was received.
        like: the other tensor.

    Raises:
        ValueError: if the number of axes or known lengths differ. An unknown
            length is an error of TensorFlow when the program runs.
    """
    check_shape(name, tensor, like.shape)
    return match_axes(name, tensor, like, len(like.shape))


def match_axes(name, tensor, like, count=1):
    """Returns `tensor`, whose first axes must be as long as those of another.

    Args:
        name: the argument's name, for the message.
        tensor: what was received, with at least `count` axes.
        like: the other tensor, with at least `count` axes.
        count: int, how many axes must match.

    Raises:
        ValueError: if known lengths differ. An unknown length is an error of
            TensorFlow when the program runs.
    """
    have, want = tuple(tensor.shape[:count]), tuple(like.shape[:count])
    check_shape(name, tensor, (*want, *tensor.shape[count:]))
    known = all(isinstance(n, int) for n in (*have, *want))
    if known or isinstance(tensor, keras.KerasTensor):
        return tensor
    if not runs_on("tensorflow"):
        return tensor  # JAX' symbols for unknown lengths are compared above
    import tensorflow as tf

    # XLA knows all lengths, and leaves assertions out: there the reshape is
    # an error. Without XLA, TensorFlow leaves the reshape out
    wrong = f"`{name}` must have as many entries as what it goes with"
    same = tf.debugging.assert_equal(
        tf.shape(tensor)[:count], tf.shape(like)[:count], wrong
    )
    with tf.control_dependencies([same]):
        rest = ops.shape(tensor)[count:]
        return ops.reshape(tensor, (*ops.shape(like)[:count], *rest))
