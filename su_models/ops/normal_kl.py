"""The divergence of a normal distribution from the standard one."""

import keras
from keras import ops

from su_models.backend.match_axes import match_shape
from su_models.backend.precision import sum_dtype


def normal_kl(mean, log_variance):
    """Returns KL(N(μ, σ²) ‖ N(0, 1)), summed over the last axis.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》

        ½ Σ (μ² + σ² - log σ² - 1)                                    Eq. (5)

    Args:
        mean: μ, floats `(..., d)`.
        log_variance: log σ², floats `(..., d)`, of the shape of `mean`.

    Returns:
        A tensor `(...)` in float32, or in float64 if `mean` is. Average it
        over the batch to add it to a reconstruction error that is summed, not
        averaged, over an example.

    Raises:
        ValueError: if the two shapes differ, or have no axis.

    Example:

    >>> zeros = keras.ops.zeros((2, 3))
    >>> print(keras.ops.convert_to_numpy(su_models.ops.normal_kl(zeros, zeros)))
    [0. 0.]
    """
    mean, log = (
        x if isinstance(x, keras.KerasTensor) else ops.convert_to_tensor(x)
        for x in (mean, log_variance)
    )
    if not len(mean.shape):
        raise ValueError(
            "`mean` must be of shape (..., d). Received: mean of shape ()"
        )
    log = match_shape("log_variance", log, mean)
    wide = sum_dtype(mean.dtype)
    mean, log = ops.cast(mean, wide), ops.cast(log, wide)
    # expm1: for small log σ² the difference σ² - log σ² - 1 would cancel
    return ops.sum(ops.square(mean) + ops.expm1(log) - log, axis=-1) / 2
