"""Checks that the axes of tensors match without broadcasting."""

import keras
from keras import ops

from su_models.backend.selection import runs_on
from su_models.utils.checks import check_shape


def match_shape(name, tensor, like):
    """Returns `tensor`, after checking that it has the shape of another.

    Args:
        name: the argument's name, for the message.
        tensor: the tensor that was received.
        like: the other tensor.

    Raises:
        ValueError: if the number of axes or known lengths differ. For unknown
            lengths TensorFlow raises its own error when the program runs.
    """
    check_shape(name, tensor, like.shape)
    return match_axes(name, tensor, like, len(like.shape))


def match_axes(name, tensor, like, count=1):
    """Returns `tensor`, after checking that its first axes match another.

    Args:
        name: the argument's name, for the message.
        tensor: the tensor that was received, with at least `count` axes.
        like: the other tensor, with at least `count` axes.
        count: int, the number of axes that must match.

    Raises:
        ValueError: if known lengths differ. For unknown lengths TensorFlow
            raises its own error when the program runs.
    """
    have, want = tuple(tensor.shape[:count]), tuple(like.shape[:count])
    check_shape(name, tensor, (*want, *tensor.shape[count:]))
    known = all(isinstance(n, int) for n in (*have, *want))
    if known or isinstance(tensor, keras.KerasTensor):
        return tensor
    if not runs_on("tensorflow"):
        return tensor  # JAX's symbolic lengths are compared above
    import tensorflow as tf

    # XLA knows all lengths and drops assertions, so the reshape fails there.
    # Without XLA, TensorFlow drops the reshape
    wrong = f"`{name}` must have as many entries as the other argument"
    same = tf.debugging.assert_equal(
        tf.shape(tensor)[:count], tf.shape(like)[:count], wrong
    )
    with tf.control_dependencies([same]):
        rest = ops.shape(tensor)[count:]
        return ops.reshape(tensor, (*ops.shape(like)[:count], *rest))
