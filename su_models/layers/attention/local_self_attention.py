"""Self-attention to nearby tokens."""

import keras

from su_models.layers.attention.base import BaseSelfAttention
from su_models.ops.sparse_attention import check_window, local_attention


@keras.saving.register_keras_serializable(package="su_models")
class LocalSelfAttention(BaseSelfAttention):
    """Attends to the tokens at most `window` away, in linear time.

    Article: https://kexue.fm/archives/6853
        《为节约而生：从标准Attention到稀疏Attention》

    Query i attends to itself and to the keys j with |i - j| ≤ window, by

        Attention(Q, K, V) = softmax(Q Kᵀ / √d) V                    Eq. (1)

    It equals `MultiHeadAttention` with that band as its mask, has the same
    variables (`set_weights(dense.get_weights())`), and costs O(n window):
    tokens are projected once, and each block of queries is compared only
    with the keys within its reach.

    Differs: the author's code projects each window again, and includes
    padding in the softmax; here a key that is masked, or outside the sequence
    or the window, has no weight, and a query without keys has context 0. The
    mask of the queries passes through.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of the values.
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

    >>> attention = su_models.layers.LocalSelfAttention(
    ...     num_heads=4, head_dim=16, window=128
    ... )
    >>> tuple(attention(keras.random.normal((1, 5000, 64))).shape)
    (1, 5000, 64)
    """

    def __init__(self, num_heads, head_dim, window, **kwargs):
        super().__init__(num_heads, head_dim, **kwargs)
        check_window(window)
        self.window = int(window)

    def _sparse(self, q, k, v, **masks):
        return local_attention(q, k, v, self.window, **masks)

    def get_config(self):
        return {**super().get_config(), "window": self.window}
