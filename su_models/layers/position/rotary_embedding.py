"""Rotary position embedding."""

import keras
import numpy as np
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.layers.position.check_positions import check_positions
from su_models.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="su_models")
class RotaryEmbedding(keras.layers.Layer):
    """Rotates feature pairs by an angle proportional to position (RoPE).

    Article: https://kexue.fm/archives/8265
        《Transformer升级之路：2、博采众长的旋转式位置编码》
    Paper: https://arxiv.org/abs/2104.09864

    Adjacent features form pairs. Pair `i` at position `m`, read as a complex
    number, is multiplied by a unit rotation; `call` computes the product in
    real numbers, which is Eq. (13):

        (x[2i] + j x[2i+1]) exp(j m θ_i),   θ_i = base^(-2i/d)       Eq. (9)

        (R_m q)·(R_n k) = q·R_(n-m) k                                Eq. (12)

    When queries and keys are rotated, attention scores depend on positions
    only through the distance of two tokens. Values are not rotated. Masks
    pass through unchanged.

    Args:
        base: float > 0. Base of the geometric sequence `θ_i`.

    Call arguments:
        inputs: `(batch, length, ..., dim)`, with `dim` even.
        positions: optional integers, `(length,)` or `(batch, length)`.
            Defaults to `0, ..., length - 1`.

    Returns:
        A tensor of the shape of `inputs`, in the layer's compute dtype.

    Raises:
        ValueError: if `base` is not positive, `inputs` has fewer than three
            axes or an odd `dim`, or `positions` are not integers of the
            length of `inputs`.

    Example:

    >>> rope = su_models.layers.RotaryEmbedding()
    >>> tuple(rope(keras.ops.ones((2, 7, 3, 64))).shape)
    (2, 7, 3, 64)
    """

    def __init__(self, base=10000.0, **kwargs):
        super().__init__(**kwargs)
        self.base = check_positive("base", base)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 3:
            raise ValueError(
                "The inputs must be `(batch, length, ..., dim)`. "
                f"Received: input_shape={input_shape}"
            )
        if input_shape[-1] is None or input_shape[-1] % 2:
            raise ValueError(
                "The last axis of the inputs must be known and even. "
                f"Received: input_shape={input_shape}"
            )
        self.built = True

    def call(self, inputs, positions=None):
        if positions is None:
            positions = ops.arange(ops.shape(inputs)[1])
        inputs = ops.cast(inputs, self.compute_dtype)  # may be integers
        angles = self._angles(positions, inputs)  # (1|b, n, 1..., d/2)
        # cast last: float16 holds no odd integer beyond 2048
        cos = ops.cast(ops.cos(angles), inputs.dtype)
        sin = ops.cast(ops.sin(angles), inputs.dtype)
        x, y = inputs[..., 0::2], inputs[..., 1::2]  # (b, n, ..., d/2)
        rotated = ops.stack([x * cos - y * sin, y * cos + x * sin], axis=-1)
        return ops.reshape(rotated, ops.shape(inputs))  # (b, n, ..., d)

    def _angles(self, positions, inputs):
        """Returns `m θ_i` in at least 32 bits, broadcastable to the pairs."""
        positions = check_positions(positions, inputs.shape[1], inputs.shape[0])
        dim, dtype = inputs.shape[-1], sum_dtype(inputs.dtype)
        theta = self.base ** (-np.arange(0, dim, 2) / dim)  # (d/2,)
        angles = ops.expand_dims(ops.cast(positions, dtype), -1)
        angles = angles * ops.cast(theta, dtype)  # ([b,] n, d/2)
        if len(positions.shape) == 1:
            angles = ops.expand_dims(angles, 0)  # (1, n, d/2)
        for _ in inputs.shape[2:-1]:
            angles = ops.expand_dims(angles, 2)
        return angles

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "base": self.base}
