"""DeepNorm: the residual connection of Transformers with 1000 layers."""

import keras
from keras import ops

from su_models.backend.match_axes import match_shape
from su_models.backend.precision import sum_dtype
from su_models.layers.normalization.layer_normalization import (
    LayerNormalization,
)
from su_models.utils.checks import check_positive, check_shape


@keras.saving.register_keras_serializable(package="su_models")
class DeepNorm(keras.layers.Layer):
    """Adds the output of a block to α times its input, and normalizes.

    Article: https://kexue.fm/archives/8978
        《训练1000层的Transformer究竟有什么困难？》
    Article: https://kexue.fm/archives/8994
        《为什么需要残差？一个来自DeepNet的视角》
    Paper: https://arxiv.org/abs/2203.00555

        x_(l+1) = LN(α x_l + F(x_l)) = LN(x_l + F(x_l)/α)             Eq. (4)

    If the gradient of each matrix is O(1), a step of size η changes the loss
    of an N-layer model by O(ηN): the deeper the model, the less stable its
    training. The factor α divides the gradients of the matrices in F by α,
    and initial weights that are β times as large scale them by β, so that

        ∂L/∂λ = O(β/α) = O(1/√(2N))                                  Eq. (13)

    and the change no longer depends on N. Both α and β are given by
    `su_models.ops.deep_norm_coefficients`. α = 1 is the usual post-norm.

    The layer computes in float32 under every policy. Masks pass through
    unchanged.

    Args:
        alpha: number > 0. α.
        epsilon: number > 0. ε of the normalization.

    Call arguments:
        inputs: x_l, `(batch, ..., d)`.
        residual: F(x_l), of the shape of `inputs`.

    Returns:
        x_(l+1), of the shape and dtype of `inputs`.

    Raises:
        ValueError: if α is not positive or the shapes differ.

    Example: a feed-forward block of an encoder of 100 layers.

    >>> (alpha, beta), _ = su_models.ops.deep_norm_coefficients(100)
    >>> scaled = keras.initializers.VarianceScaling(beta**2, "fan_avg")
    >>> x = keras.Input((64,))
    >>> h = keras.layers.Dense(256, "relu", kernel_initializer=scaled)(x)
    >>> h = keras.layers.Dense(64, kernel_initializer=scaled)(h)
    >>> su_models.layers.DeepNorm(alpha)(x, h).shape
    (None, 64)
    """

    def __init__(self, alpha, epsilon=1e-7, **kwargs):
        super().__init__(**kwargs)
        self.alpha = check_positive("alpha", alpha)
        self.epsilon = check_positive("epsilon", epsilon)
        # no autocast: the float32 sum must not be cast before normalization
        self.normalization = LayerNormalization(
            epsilon=self.epsilon,
            dtype=self.dtype_policy,
            autocast=False,
            name="normalization",
        )
        self.supports_masking = True

    def build(self, inputs_shape, residual_shape):
        check_shape("residual", residual_shape, inputs_shape)
        self.normalization.build(inputs_shape)
        self.built = True

    def call(self, inputs, residual):
        residual = match_shape("residual", residual, inputs)
        wide = sum_dtype(inputs.dtype)
        total = self.alpha * ops.cast(inputs, wide) + ops.cast(residual, wide)
        return self.normalization(total)

    def compute_output_shape(self, inputs_shape, residual_shape):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "epsilon": self.epsilon,
        }
