"""The logarithm of the probability of the target class."""

import keras
from keras import ops


def class_log_probabilities(y_pred, from_logits):
    """Returns log probabilities of all classes.

    Args:
        y_pred: logits or probabilities, `(..., classes)`.
        from_logits: bool. Whether they are logits.

    Returns:
        A tensor like `y_pred`. Probabilities are clipped to at least Keras'
        epsilon; logits are not clipped.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    if from_logits:
        return ops.log_softmax(y_pred, axis=-1)
    total = ops.sum(y_pred, axis=-1, keepdims=True)
    return ops.log(ops.maximum(y_pred / total, keras.backend.epsilon()))


def take_class(x, labels):
    """Returns the entry of each target class.

    Args:
        x: `(..., classes)`.
        labels: int32 `(...)` in 0, ..., classes - 1.

    Returns:
        A tensor `(...)`.
    """
    return ops.take_along_axis(x, labels[..., None], axis=-1)[..., 0]
