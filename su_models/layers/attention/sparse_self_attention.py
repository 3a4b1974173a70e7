"""Self-attention, dense nearby and sparse far away."""

import keras

from su_models.layers.attention.base import BaseSelfAttention
from su_models.ops.sparse_attention import (
    check_rate,
    check_window,
    sparse_attention,
)


@keras.saving.register_keras_serializable(package="su_models")
class SparseSelfAttention(BaseSelfAttention):
    """Attends to nearby tokens, and to every `rate`-th token farther away.

    Article: https://kexue.fm/archives/6853
        《为节约而生：从标准Attention到稀疏Attention》
    Paper: https://arxiv.org/abs/1904.10509

    Query i attends to itself and to the keys j with |i - j| ≤ window or
    j ≡ i (mod rate), by

        Attention(Q, K, V) = softmax(Q Kᵀ / √d) V                    Eq. (1)

    It equals `MultiHeadAttention` with that pattern as its mask, has the same
    variables (`set_weights(dense.get_weights())`), and costs O(n window +
    n²/rate): the near and the far scores are computed separately and share
    one softmax, in which every key counts once.

    Differs: in the author's code the near keys are `rate` apart, too, and
    each token's own key counts twice. The paper's attention is always causal;
    here it is only with `use_causal_mask`. A key that is masked or outside
    the sequence has no weight, and a query without keys has context 0. The
    mask of the queries passes through.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of the values.
        rate: int > 0. Step between positions to attend to. It may exceed n.
        window: int >= 0. Positions on either side to attend to. It may
            exceed n.
        key_dim, output_dim, use_bias, rotary_base, dropout,
            kernel_initializer, bias_initializer, seed, num_key_value_heads:
            see `MultiHeadAttention`.

    Call arguments:
        query: `(batch, n, features)`, of any n.
        value: as `query`. None: `query`.
        key: as `query`. None: `value`.
        attention_mask: booleans, `(batch, n)` or `(batch, n, n)`. Of the
            second form, only the pairs of the pattern are read.
        use_causal_mask: bool. Whether query i attends to keys up to i.
        mask: booleans `(batch, n)`, False for padding; Keras passes the
            mask that an upstream layer attached.
        positions: integers, `(n,)` or `(batch, n)`, for the rotation.
            Defaults to 0, ..., n - 1.

    Returns:
        A tensor `(batch, n, output_dim)`.

    Raises:
        ValueError: if an argument has a wrong shape or size.

    Example:

    >>> attention = su_models.layers.SparseSelfAttention(
    ...     num_heads=4, head_dim=16, rate=70, window=16
    ... )
    >>> tuple(attention(keras.random.normal((1, 5000, 64))).shape)
    (1, 5000, 64)
    """

    def __init__(self, num_heads, head_dim, rate, window, **kwargs):
        super().__init__(num_heads, head_dim, **kwargs)
        check_rate(rate)
        self.rate = int(rate)
        check_window(window)
        self.window = int(window)

    def _sparse(self, q, k, v, **masks):
        return sparse_attention(q, k, v, self.rate, self.window, **masks)

    def get_config(self):
        return {
            **super().get_config(),
            "rate": self.rate,
            "window": self.window,
        }
