"""The divergence of a normal distribution from the standard one."""

from keras import ops


def normal_kl(mean, log_variance):
    """Returns KL(N(μ, σ²) ‖ N(0, 1)), summed over the last axis.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》

        ½ Σ (μ² + σ² - log σ² - 1)                                    Eq. (5)

    Args:
        mean: μ, floats `(..., d)`.
        log_variance: log σ², floats `(..., d)`.

    Returns:
        float32 `(...)`. Against a reconstruction that is summed, not
        averaged, over its axes, average it over the batch.

    Example:

    >>> zeros = keras.ops.zeros((2, 3))
    >>> print(keras.ops.convert_to_numpy(su_models.ops.normal_kl(zeros, zeros)))
    [0. 0.]
    """
    mean, log = ops.cast(mean, "float32"), ops.cast(log_variance, "float32")
    # expm1: for small log σ² the difference σ² - log σ² - 1 would cancel
    return ops.sum(ops.square(mean) + ops.expm1(log) - log, axis=-1) / 2
