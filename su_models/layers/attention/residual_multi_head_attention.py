"""Attention that adds the scores of the previous layer to its own."""

import keras
from keras import ops

from su_models.layers.attention.relative_multi_head_attention import (
    RelativeMultiHeadAttention,
)
from su_models.utils.checks import check_flag, check_shape


@keras.saving.register_keras_serializable(package="su_models")
class ResidualMultiHeadAttention(RelativeMultiHeadAttention):
    """Attention with a residual connection of its scores (RealFormer).

    Article: https://kexue.fm/archives/8027
        《RealFormer：把残差转移到Attention矩阵上面去》
    Paper: https://arxiv.org/abs/2012.11747

        A_n = Q_n K_nᵀ / √d + A_(n-1)
        Attention(Q_n, K_n, V_n) = softmax(A_n) V_n

    The layer returns A_n, the scores before masks and softmax, and the next
    layer takes it as `residual_scores`. Embeddings of relative positions and
    `attention_bias` are part of the layer's own scores, and so of A_n.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of the values.
        accumulate: bool. Whether the returned scores include the residual,
            as in the paper. If False, the layer returns only its own scores,
            so each layer adds the scores of one previous layer, as in
            bert4keras.
        **kwargs: see `MultiHeadAttention`.

    Call arguments:
        query, value, key, attention_mask, use_causal_mask, mask, positions,
            attention_bias, relative_embeddings: see
            `RelativeMultiHeadAttention`.
        residual_scores: scores that the previous layer returned, `(batch,
            heads, n, m)`. None in the first layer.

    Returns:
        A pair: a tensor `(batch, n, output_dim)`, and scores `(batch, heads,
        n, m)`.

    Raises:
        ValueError: as `MultiHeadAttention`.

    Example:

    >>> x = keras.random.normal((2, 7, 64))
    >>> first, second = (
    ...     su_models.layers.ResidualMultiHeadAttention(4, 16)
    ...     for _ in range(2)
    ... )
    >>> y, scores = first(x)
    >>> y, scores = second(y, residual_scores=scores)
    >>> tuple(y.shape), tuple(scores.shape)
    ((2, 7, 64), (2, 4, 7, 7))
    """

    def __init__(self, num_heads, head_dim, *, accumulate=True, **kwargs):
        super().__init__(num_heads, head_dim, **kwargs)
        self.accumulate = check_flag("accumulate", accumulate)

    def call(
        self,
        query,
        value=None,
        key=None,
        attention_mask=None,
        use_causal_mask=False,
        training=None,
        mask=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        positions=None,
        attention_bias=None,
        relative_embeddings=None,
        residual_scores=None,
    ):
        return self._call(
            (query, value, key),
            (mask, query_mask, value_mask, key_mask),
            attention_mask,
            use_causal_mask,
            positions,
            training=training,
            attention_bias=attention_bias,
            relative_embeddings=relative_embeddings,
            residual_scores=residual_scores,
        )

    def _attend(
        self, q, k, v, masks, training=None, residual_scores=None, **pairs
    ):
        own = self._scores(self._scaled(q), k, **pairs)  # (b, h, n, m)
        scores = own
        if residual_scores is not None:
            check_shape("residual_scores", residual_scores, own.shape)
            scores = ops.add(own, residual_scores)
        context, _ = self._weigh(scores, v, masks, training, **pairs)
        handed_on = scores if self.accumulate else own
        return self._merge(context), ops.cast(handed_on, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "accumulate": self.accumulate}
