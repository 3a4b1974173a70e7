"""Orthogonality of filters of arbitrary length."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.utils.checks import check_not_negative


@keras.saving.register_keras_serializable(package="su_models")
class MaskedOrthogonality(keras.regularizers.Regularizer):
    """Penalizes the inner products of different filters, as BigGAN does.

    Article: https://kexue.fm/archives/7169
        《Self-Orthogonality Module：一个即插即用的核正交化模块》
    Paper: https://arxiv.org/abs/1809.11096

    With a filter in each column of W:

        ‖(WᵀW - I) ⊗ (1 - I)‖²                                       Eq. (5)

    in the Frobenius norm. Unlike ‖WᵀW - I‖², Eq. (4), it does not constrain
    the lengths of the filters. It is a sum over all pairs of filters.

    Args:
        factor: float >= 0. Weight of the penalty.

    Call arguments:
        x: a kernel, `(..., filters)`: of a dense or convolutional layer.

    Returns:
        A scalar, in float32 or float64.

    Raises:
        ValueError: if `factor` is not a number >= 0, or the kernel has fewer
            than 2 axes.

    Example:

    >>> penalty = su_models.regularizers.MaskedOrthogonality(0.1)
    >>> float(penalty(keras.ops.array([[3.0, 0.0], [0.0, 2.0]])))
    0.0
    >>> layer = keras.layers.Conv2D(8, 3, kernel_regularizer=penalty)
    """

    def __init__(self, factor=1e-4):
        self.factor = check_not_negative("factor", factor)

    def __call__(self, x):
        x = ops.convert_to_tensor(x)
        if len(x.shape) < 2:
            raise ValueError(
                "The kernel must have at least 2 axes. "
                f"Received: shape={tuple(x.shape)}"
            )
        x = ops.cast(x, sum_dtype(x.dtype))
        k = x.shape[-1]
        w = ops.reshape(x, (-1, k))  # (inputs, k)
        products = ops.matmul(ops.transpose(w), w)  # (k, k)
        products = products * (1.0 - ops.eye(k, dtype=w.dtype))
        return self.factor * ops.sum(ops.square(products))

    def get_config(self):
        return {"factor": self.factor}
