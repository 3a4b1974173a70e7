"""The logarithm of the probability of the target class."""

import keras
from keras import ops


def class_log_probabilities(y_pred, from_logits):
    """Returns log probabilities of all classes.

    Args:
        y_pred: logits or probabilities, `(..., classes)`.
        from_logits: bool. Which of the two they are.

    Returns:
        A tensor like `y_pred`. Probabilities below Keras' epsilon count as
        that, logits are taken as they are.
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
        labels: the target classes, `(...)` or `(..., 1)`, in any dtype that
            holds them.

    Returns:
        A tensor `(...)`.

    Raises:
        ValueError: if the shapes do not fit.
    """
    labels = ops.convert_to_tensor(labels)
    shape, classes = tuple(labels.shape), tuple(x.shape)
    if len(shape) == len(classes) and shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    if not classes or not _fit(labels.shape, classes[:-1]):
        raise ValueError(
            "`y_true` must hold integers of the shape of `y_pred` without "
            f"its last axis. Received: y_true={shape}, y_pred={classes}"
        )
    labels = ops.cast(labels, "int32")[..., None]
    return ops.take_along_axis(x, labels, axis=-1)[..., 0]


def _fit(shape, other):
    return len(shape) == len(other) and all(
        m is None or n is None or m == n
        for m, n in zip(shape, other, strict=True)
    )
