"""GlobalPointer with few parameters per type."""

import keras
from keras import ops

from su_models.backend.precision import accumulated_einsum
from su_models.layers.tagging.global_pointer import GlobalPointer


@keras.saving.register_keras_serializable(package="su_models")
class EfficientGlobalPointer(GlobalPointer):
    """Scores spans by an attention head that all types share, and a bias.

    Article: https://kexue.fm/archives/8877
        《Efficient GlobalPointer：少点参数，多点效果》
    Paper: https://arxiv.org/abs/2208.03054

    All types share one score of whether (i, j) is a span at all; each type α
    adds only a score of whether the span has this type:

        q_i = W_q h_i,   k_i = W_k h_i
        s_α(i, j) = q_iᵀ k_j + w_αᵀ [q_i; k_i; q_j; k_j]          Eq. (3)

    Each additional type thus needs 4 · head_dim parameters instead of
    2 · head_dim · features. As in the author's code, only the first term is
    rotated and is divided by √head_dim, the second term is divided by 2,
    and both have biases if `use_bias`.

    The columns of the first kernel alternate between W_q and W_k; the second
    kernel holds for each type the part of w_α for the end j, then the part
    for the start i.

    The arguments and the loss are those of `GlobalPointer`.

    Args:
        num_heads: int > 0. Number of types.
        head_dim: int > 0. Size of a query and of a key; even if
            `rotary_base` is set.
        rotary_base: float > 0. Base of the rotation. None: no rotation.
        use_bias: bool. Whether the projections have biases.
        tril_mask: bool. Whether i > j is excluded.
        kernel_initializer: initializer of the kernels.

    Call arguments:
        inputs: h, `(batch, length, features)`.
        mask: optional booleans `(batch, length)`; Keras passes the mask that
            an upstream layer attached.

    Returns:
        s, `(batch, num_heads, length, length)`: start, then end.

    Raises:
        ValueError: as in `GlobalPointer`.

    Example:

    >>> pointer = su_models.layers.EfficientGlobalPointer(10, head_dim=64)
    >>> tuple(pointer(keras.random.normal((2, 7, 32))).shape)
    (2, 10, 7, 7)
    """

    def _build_projections(self, input_shape):
        units = 2 * self.head_dim
        self.p_dense = self._dense("p_dense", units, input_shape)
        self.q_dense = self._dense(
            "q_dense", 2 * self.num_heads, (*input_shape[:-1], units)
        )

    def _scores(self, inputs):
        x = self.p_dense(inputs)  # (b, n, 2d)
        q, k = self._rotate(x[..., ::2]), self._rotate(x[..., 1::2])
        q = q * self.head_dim**-0.5  # before the product: float16 ends at 65504
        shared = accumulated_einsum(
            "bid,bjd->bij", q, k, self.compute_dtype
        )  # (b, n, n)
        bias = ops.transpose(self.q_dense(x) / 2, (0, 2, 1))  # (b, 2h, n)
        ends, starts = bias[:, ::2], bias[:, 1::2]  # (b, h, n)
        return (
            ops.expand_dims(shared, 1)
            + ops.expand_dims(ends, 2)
            + ops.expand_dims(starts, 3)
        )  # (b, h, n, n)
