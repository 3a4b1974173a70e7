"""GlobalPointer with few parameters for each type."""

import keras
from keras import ops

from su_models.layers.tagging.global_pointer import GlobalPointer


@keras.saving.register_keras_serializable(package="su_models")
class EfficientGlobalPointer(GlobalPointer):
    """Scores spans by one attention head that all types share, and a bias.

    Article: https://kexue.fm/archives/8877
        《Efficient GlobalPointer：少点参数，多点效果》
    Paper: https://arxiv.org/abs/2208.03054

    Whether a span is one at all is the same question for all types, and only
    which one it is differs:

        q_i = W_q h_i,   k_i = W_k h_i
        s_α(i, j) = q_iᵀ k_j + w_αᵀ [q_i; k_i; q_j; k_j]          Eq. (3)

    so that a further type takes 4 · head_dim parameters instead of
    2 · head_dim · features. As in the author's code the product of q and k,
    which alone is rotated, is divided by √head_dim, the second term by 2,
    and both have biases if `use_bias`.

    The first kernel holds columns of W_q and W_k in turn, the second for each
    type the part of w_α for the end j and the part for the start i.

    Arguments, call arguments, returns and the loss are those of
    `GlobalPointer`.

    Args:
        num_heads: int > 0. Number of types.
        head_dim: int > 0. Size of a query and of a key; even if rotated.
        rotary_base: float > 0. Base of the rotation. None: no rotation.
        use_bias: bool. Whether there are biases.
        tril_mask: bool. Whether i > j is excluded.
        kernel_initializer: initializer of the kernels.

    Call arguments:
        inputs: h, `(batch, length, features)`.
        mask: optional booleans `(batch, length)`; usually from upstream.

    Returns:
        s, `(batch, num_heads, length, length)`: start, then end.

    Raises:
        ValueError: as `GlobalPointer` does.

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
        q = q * self.head_dim**-0.5  # first: float16 ends at 65504
        shared = ops.matmul(q, ops.transpose(k, (0, 2, 1)))  # (b, n, n)
        bias = ops.transpose(self.q_dense(x) / 2, (0, 2, 1))  # (b, 2h, n)
        ends, starts = bias[:, ::2], bias[:, 1::2]  # (b, h, n)
        return (
            ops.expand_dims(shared, 1)
            + ops.expand_dims(ends, 2)
            + ops.expand_dims(starts, 3)
        )
