"""Tells tensors with values from traced ones."""

import keras


def is_known(x):
    """Tells whether `x` has a value, which a traced tensor does not have.

    Args:
        x: any object. Objects that are not tensors have values.
    """
    if isinstance(x, keras.KerasTensor):
        return False
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.is_tensor(x) or hasattr(x, "numpy")
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(x, jax.core.Tracer)
    import torch

    if not isinstance(x, torch.Tensor):
        return True
    # Keras infers shapes on the device "meta"
    return not torch.compiler.is_compiling() and x.device.type != "meta"
