"""Conditional assignments to variables."""

import keras
from keras import ops


def assign_if(condition, pairs):
    """Assigns values to variables if a tensor is true.

    `keras.ops.cond` cannot do this, since JAX allows no assignments inside.
    On PyTorch nothing is computed if the condition is false; TensorFlow and
    JAX select between old and new values, which XLA fuses with neighboring
    operations.

    Args:
        condition: boolean scalar, which may be traced.
        pairs: function without arguments that returns pairs of a variable
            and its new value. All values are computed before the first is
            assigned.

    Example:

    >>> x = keras.Variable(1.0)
    >>> for condition in (False, True):
    ...     su_models.backend.assign_if(condition, lambda: [(x, x * 2)])
    ...     print(keras.ops.convert_to_numpy(x))
    1.0
    2.0
    """
    if keras.backend.backend() == "torch":
        chosen = list(pairs()) if condition else []
    else:
        # unwrapped, since `where` rejects Keras variables while JAX traces
        chosen = [
            (v, ops.where(condition, new, ops.convert_to_tensor(v)))
            for v, new in pairs()
        ]
    for variable, value in chosen:
        variable.assign(value)
