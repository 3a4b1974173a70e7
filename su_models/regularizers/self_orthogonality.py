"""Orthogonality of filters, estimated from their outputs."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.utils.checks import (
    check_flag,
    check_not_negative,
    check_positive,
)


@keras.saving.register_keras_serializable(package="su_models")
class SelfOrthogonality(keras.regularizers.Regularizer):
    """Penalizes small angles of filters, estimated from a layer's outputs.

    Article: https://kexue.fm/archives/7169
        《Self-Orthogonality Module：一个即插即用的核正交化模块》
    Paper: https://arxiv.org/abs/2001.01275

    This is the Self-Orthogonality Module. For inputs of random direction,
    sgn(xᵀw_i) sgn(xᵀw_j) has the mean 1 - 2θ/π, Eq. (6), with θ the angle
    between two filters. The batch provides the inputs: with Y = XᵀW,
    `(batch, filters)`,

        ϑ = ŶᵀŶ,  Ŷ = tanh(γ Y), each column of length 1             Eq. (8)

        l1 (Σ_(i≠j) ϑ_ij)² + l2 Σ_(i≠j) ϑ_ij²                        Eq. (7)

    Use it as the `activity_regularizer` of a layer with a linear activation
    and without bias, so that only the filters matter. All axes but the last
    count as the batch, so it works for convolutions; padded positions of
    sequences count too. The author recommends it only for training from
    scratch.

    Keras divides the value of an activity regularizer by the batch size. The
    result is therefore Eq. (7) times the batch size, so that the layer's loss
    is Eq. (7).

    Args:
        gamma: float > 0, γ of the smooth sign.
        l1: float >= 0, weight of the square of the sum.
        l2: float >= 0, weight of the sum of squares.
        average: bool. If True, both sums are means over the pairs, so that
            the penalty does not grow with the number of filters. (Otherwise
            the first term grows with its fourth power.)

    Call arguments:
        x: outputs `(batch, ..., filters)`.

    Returns:
        A scalar, in float32 or float64.

    Raises:
        ValueError: if a number is out of its range, or the outputs have
            fewer than 2 axes.

    Example:

    >>> layer = keras.layers.Dense(
    ...     8,
    ...     use_bias=False,
    ...     activity_regularizer=su_models.regularizers.SelfOrthogonality(),
    ... )
    >>> y = layer(keras.random.normal((32, 16)))
    >>> len(layer.losses)
    1
    """

    def __init__(self, gamma=10.0, l1=100.0, l2=1.0, average=False):
        self.gamma = check_positive("gamma", gamma)
        self.l1 = check_not_negative("l1", l1)
        self.l2 = check_not_negative("l2", l2)
        self.average = check_flag("average", average)

    def __call__(self, x):
        x = ops.convert_to_tensor(x)
        if len(x.shape) < 2:
            raise ValueError(
                "The outputs must have at least 2 axes. "
                f"Received: shape={tuple(x.shape)}"
            )
        x = ops.cast(x, sum_dtype(x.dtype))
        batch = ops.cast(ops.shape(x)[0], x.dtype)
        k = x.shape[-1]
        y = ops.tanh(self.gamma * ops.reshape(x, (-1, k)))  # (b, k)
        length = ops.sum(ops.square(y), axis=0)  # (k,)
        y = y * ops.rsqrt(ops.maximum(length, keras.backend.epsilon()))
        theta = ops.matmul(ops.transpose(y), y)  # (k, k)
        theta = theta * (1.0 - ops.eye(k, dtype=y.dtype))
        count = max(1, k * (k - 1)) if self.average else 1
        total = ops.sum(theta) / count
        squares = ops.sum(ops.square(theta)) / count
        return batch * (self.l1 * ops.square(total) + self.l2 * squares)

    def get_config(self):
        return {
            "gamma": self.gamma,
            "l1": self.l1,
            "l2": self.l2,
            "average": self.average,
        }
