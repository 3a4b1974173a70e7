"""Attention with embeddings of relative positions."""

import keras

from su_models.layers.attention.multi_head_attention import MultiHeadAttention
from su_models.layers.attention.scores import relative_context, relative_scores


@keras.saving.register_keras_serializable(package="su_models")
class RelativeMultiHeadAttention(MultiHeadAttention):
    """Attention that adds relative positions to keys and values (NEZHA).

    Article: https://kexue.fm/archives/8130
        《让研究人员绞尽脑汁的Transformer位置编码》
    Paper: https://arxiv.org/abs/1803.02155

    With embeddings R of relative positions (`RelativePositionEmbedding`):

        a_ij = softmax_j(q_i·(k_j + R_ij) / √d)               Eq. (4)
        o_i = Σ_j a_ij (v_j + R_ij)                           Eq. (5)

    Everything else is as in `MultiHeadAttention`; without
    `relative_embeddings` the layers are equal.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of keys and values.
        **kwargs: see `MultiHeadAttention`; `key_dim`, if given, must equal
            `head_dim`.

    Call arguments:
        query, value, key, attention_mask, use_causal_mask, mask, positions,
            attention_bias, return_attention_scores: see
            `MultiHeadAttention`.
        relative_embeddings: `(1|batch, n, m, head_dim)`.

    Returns:
        A tensor `(batch, n, output_dim)`; or a pair of it and the weights,
        `(batch, heads, n, m)`.

    Raises:
        ValueError: as `MultiHeadAttention`.

    Example:

    >>> x = keras.random.normal((2, 7, 64))
    >>> embed = su_models.layers.RelativePositionEmbedding(129, 16)
    >>> attention = su_models.layers.RelativeMultiHeadAttention(4, 16)
    >>> tuple(attention(x, relative_embeddings=embed(x)).shape)
    (2, 7, 64)
    """

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
        return_attention_scores=False,
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
            return_attention_scores=return_attention_scores,
        )

    def _scores(self, q, k, relative_embeddings=None, **pairs):
        scores = super()._scores(q, k, **pairs)
        if relative_embeddings is None:
            return scores
        return scores + relative_scores(q, relative_embeddings, k.shape[1])

    def _context(self, weights, v, relative_embeddings=None, **pairs):
        context = super()._context(weights, v, **pairs)
        if relative_embeddings is None:
            return context
        return context + relative_context(
            weights, relative_embeddings, v.shape[-1]
        )
