"""Whether a tensor has a value yet."""

import keras


def is_known(x):
    """Tells whether `x` has a value; a tensor that is being traced has none.

    Args:
        x: anything. What is no tensor has its value.
    """
    if isinstance(x, keras.KerasTensor):
        return False
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.is_tensor(x) or hasattr(x, "numpy")
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(x, jax.core.Tracer)
    return True
