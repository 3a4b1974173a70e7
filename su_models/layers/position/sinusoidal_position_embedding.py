"""Sinusoidal absolute positions."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.layers.position.check_positions import check_positions
from su_models.layers.position.merge_positions import (
    check_merge_mode,
    merge_positions,
)
from su_models.layers.position.sinusoids import sinusoids
from su_models.utils.checks import check_positive, check_size


@keras.saving.register_keras_serializable(package="su_models")
class SinusoidalPositionEmbedding(keras.layers.Layer):
    """Fixed sines and cosines of each position, for any length.

    Article: https://kexue.fm/archives/8231
        《Transformer升级之路：1、Sinusoidal位置编码追根溯源》
    Paper: https://arxiv.org/abs/1706.03762

    Features come in adjacent pairs. The vector p_k of position k is

        p_k[2i] = sin(k θ_i),  p_k[2i+1] = cos(k θ_i)         Eq. (1)
        p_m·p_n = Σ_i cos((m-n) θ_i),   θ_i = base^(-2i/d)    Eq. (11)

    so that the product of two positions depends only on their distance, and
    decreases with it. The layer has no weights. Masks pass through unchanged.

    Args:
        output_dim: int > 0, even. Size of a vector. Defaults to that of the
            inputs.
        merge_mode: "add", "mul" (by one plus the vector), "concat", or
            "zero" (the vectors without the inputs).
        base: float > 0. Base of the geometric sequence of the θ_i.

    Call arguments:
        inputs: `(batch, length, features)`.
        positions: integers, `(length,)` or `(batch, length)`. Defaults to 0,
            ..., length - 1.

    Returns:
        A tensor `(batch, length, features)`; the number of features depends
        on `merge_mode`.

    Raises:
        ValueError: if the size of a vector is odd, or the inputs are not of
            rank 3 or do not fit `output_dim`.

    Example:

    >>> embed = su_models.layers.SinusoidalPositionEmbedding()
    >>> tuple(embed(keras.ops.ones((2, 7, 64))).shape)
    (2, 7, 64)
    """

    def __init__(
        self, output_dim=None, merge_mode="add", base=10000.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.output_dim = check_size("output_dim", output_dim, optional=True)
        self.merge_mode = check_merge_mode(merge_mode, output_dim, output_dim)
        self.base = check_positive("base", base)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must be `(batch, length, features)`, with a known "
                "number of features. "
                f"Received: inputs of shape {tuple(input_shape)}"
            )
        dim = self.output_dim or input_shape[-1]
        check_merge_mode(self.merge_mode, input_shape[-1], dim)
        if dim % 2:
            raise ValueError(
                "`output_dim`, or else the features of the inputs, must be "
                f"even. Received: output_dim={self.output_dim}, inputs of "
                f"shape {tuple(input_shape)}"
            )
        self.built = True

    def call(self, inputs, positions=None):
        if positions is None:
            positions = ops.arange(ops.shape(inputs)[1])
        else:
            positions = check_positions(
                positions, inputs.shape[1], inputs.shape[0]
            )
        dim = self.output_dim or inputs.shape[-1]
        # not in 16 bits: float16 holds no odd integer beyond 2048
        embeddings = sinusoids(
            positions, dim, self.base, sum_dtype(self.compute_dtype)
        )
        return merge_positions(
            inputs, embeddings, self.merge_mode, self.compute_dtype
        )

    def compute_output_shape(self, input_shape):
        features = self.output_dim or input_shape[-1]
        if self.merge_mode == "concat":
            features += input_shape[-1]
        return (*input_shape[:-1], features)

    def get_config(self):
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "merge_mode": self.merge_mode,
            "base": self.base,
        }
