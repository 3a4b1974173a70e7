"""Initializers that several weights share."""

import keras


def fresh_initializer(initializer):
    """Returns a copy of an initializer, which draws numbers of its own.

    One object, with its one seed, would give equal numbers to two weights of
    one shape.

    Args:
        initializer: a Keras initializer, or a function of a shape, which is
            returned as it is.

    Example:

    >>> from su_models.utils.initializers import fresh_initializer
    >>> glorot = keras.initializers.get("glorot_uniform")
    >>> fresh_initializer(glorot) is glorot
    False
    """
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer
