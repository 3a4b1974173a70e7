"""Projections to heads and back, whose kernels are initialized as matrices."""

import math

import keras
from keras import ops

from su_models.utils.initializers import fresh_initializer


def projection(
    name,
    input_shape,
    output_dims,
    use_bias,
    kernel_initializer,
    bias_initializer,
    dtype,
):
    """Returns a built projection of all axes after the second.

    Args:
        name: name of the layer.
        input_shape: `(batch, length, ...)`.
        output_dims: the axes that replace `...`, such as `(heads, dim)`.
        use_bias: whether there is a bias of that shape.
        kernel_initializer: sees the kernel as a matrix.
        bias_initializer: of the bias.
        dtype: a dtype policy.
    """
    merged, made = "cd"[: len(input_shape) - 2], "ef"[: len(output_dims)]
    dense = keras.layers.EinsumDense(
        f"ab{merged},{merged}{made}->ab{made}",
        output_shape=(None, *output_dims),
        bias_axes=made if use_bias else None,
        kernel_initializer=_as_matrix(kernel_initializer, len(merged)),
        bias_initializer=bias_initializer,
        dtype=dtype,
        name=name,
    )
    dense.supports_masking = True  # attention reads the mask and passes it on
    dense.build(input_shape)
    return dense


def _as_matrix(initializer, num_inputs):
    """Returns an initializer that counts the fans of a kernel as a matrix.

    The first `num_inputs` axes of a kernel are inputs, the others outputs.
    Keras would read `(d, heads, dim)` as a convolution of size d.
    """
    initializer = fresh_initializer(initializer)

    def initialize(shape, dtype=None):
        d = math.prod(shape[:num_inputs])
        matrix = initializer((d, math.prod(shape) // d), dtype=dtype)
        return ops.reshape(matrix, shape)

    return initialize
