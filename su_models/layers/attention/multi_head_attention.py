"""Dense multi-head attention."""

import keras
from keras import ops

from su_models.layers.attention.base import BaseMultiHeadAttention
from su_models.layers.attention.masks import joined_mask
from su_models.layers.attention.scores import (
    attention_context,
    attention_scores,
)
from su_models.layers.attention.weights import (
    NORMALIZATIONS,
    attention_weights,
    softmax_attention,
)
from su_models.utils.checks import check_choice, check_flag

# with so few queries, such as the beams of a step, fusion saves nothing
_FEW = range(9)


@keras.saving.register_keras_serializable(package="su_models")
class MultiHeadAttention(BaseMultiHeadAttention):
    """Multi-head attention with the author's masks and positions.

    Article: https://kexue.fm/archives/4765
        《Attention is All You Need》浅读（简介+代码）
    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Article: https://kexue.fm/archives/8823
        《从熵不变性看Attention的Scale操作》
    Paper: https://arxiv.org/abs/1706.03762

        Attention(Q, K, V) = softmax(Q Kᵀ / √d) V         Eq. (4) of 4765
        head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)     Eq. (6)

    Token order enters only through rotated queries and keys (`rotary_base`),
    a bias of the scores (`RelativePositionBias`), and masks: a causal mask, or
    UniLM's mask, causal after a prefix (`attention_mask=prefix_mask(...)`).
    `RelativeMultiHeadAttention` adds embeddings of relative positions, and
    `ResidualMultiHeadAttention` the scores of the previous layer.

    In masks, True means "attend". The padding of the keys is masked by the
    implicit mask of an upstream layer, by `mask`, or by `attention_mask`. A
    query that may attend to no key has context 0, so its output is the output
    bias. The mask of the queries passes through. The variables are those of
    Keras' layer, in the order q, k, v, o; initializers see each kernel as a
    matrix.

    The method `step` decodes token by token, with a cache of keys and values.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of the values.
        key_dim: int > 0. Size of a head of queries and keys. None:
            `head_dim`.
        output_dim: int > 0. Size of the output. Defaults to that of `query`.
        use_bias: bool. Whether the projections have biases.
        rotary_base: float > 0. Rotates queries and keys (`RotaryEmbedding`);
            `key_dim` must then be even. None: no rotation.
        normalization: "softmax"; "softmax_plus", which scales the scores
            with the length to keep the entropy of the weights constant; or
            "squared_relu". See `su_models.layers.attention.weights`.
        attention_scale: bool. Whether the scores are divided by `√key_dim`.
        dropout: float in [0, 1). Share of the weights zeroed in training.
        kernel_initializer: of the projections.
        bias_initializer: of the biases.
        seed: int. Seed of the dropout.
        num_key_value_heads: int > 0 that divides `num_heads`. Number of
            heads of keys and values, each of which serves a group of heads
            of queries (grouped-query attention; 1: multi-query attention).
            None: `num_heads`.

    Call arguments:
        query: `(batch, n, features)`.
        value: `(batch, m, features)`. None: `query`, self-attention.
        key: `(batch, m, features)`. None: `value`.
        attention_mask: booleans, `(batch, m)` or `(batch, n, m)`.
        use_causal_mask: bool. Whether query i attends to keys up to i.
        mask: booleans `(batch, m)`, the padding in self-attention. Keras
            passes it, like `query_mask`, `value_mask` and `key_mask`, from
            upstream layers.
        positions: integers, `(n,)` or `(batch, n)`: positions of the queries
            (and of the keys in self-attention) for the rotation. Defaults
            to 0, ..., n - 1.
        attention_bias: `(1|batch, 1|heads, n, m)`, added to the scaled
            scores.
        return_attention_scores: bool. Whether to return the weights as well.

    Returns:
        A tensor `(batch, n, output_dim)`; or a pair of it and the weights,
        `(batch, heads, n, m)`.

    Raises:
        ValueError: if an argument has a wrong shape, `rotary_base` is set
            and `key_dim` is odd, or arguments contradict each other.

    Example:

    >>> attention = su_models.layers.MultiHeadAttention(
    ...     num_heads=4, head_dim=16, rotary_base=10000.0
    ... )
    >>> x = keras.random.normal((2, 7, 64))
    >>> tuple(attention(x, use_causal_mask=True).shape)
    (2, 7, 64)

    The same computation token by token, with a cache of keys and values:

    >>> cache = attention.empty_cache(batch_size=2, length=7)
    >>> for i in range(7):
    ...     y, cache = attention.step(x[:, i : i + 1], cache, i)
    >>> tuple(y.shape)
    (2, 1, 64)
    """

    def __init__(
        self,
        num_heads,
        head_dim,
        key_dim=None,
        output_dim=None,
        use_bias=True,
        rotary_base=None,
        normalization="softmax",
        attention_scale=True,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        seed=None,
        num_key_value_heads=None,
        **kwargs,
    ):
        super().__init__(
            num_heads=num_heads,
            head_dim=head_dim,
            key_dim=key_dim,
            output_dim=output_dim,
            use_bias=use_bias,
            rotary_base=rotary_base,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            seed=seed,
            num_key_value_heads=num_key_value_heads,
            **kwargs,
        )
        self.normalization = check_choice(
            "normalization", normalization, NORMALIZATIONS
        )
        self.attention_scale = check_flag("attention_scale", attention_scale)

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
            return_attention_scores=return_attention_scores,
        )

    def _attend(
        self,
        q,
        k,
        v,
        masks,
        training=None,
        return_attention_scores=False,
        **pairs,
    ):
        check_flag("return_attention_scores", return_attention_scores)
        pairs = {name: x for name, x in pairs.items() if x is not None}
        q = self._scaled(q)
        if not (pairs or return_attention_scores):
            few = q.shape[1] in _FEW and masks.pairs is not None
            if self._is_fused(q, v, training) and not few:
                return self._merge(softmax_attention(q, k, v, masks))
        scores = self._scores(q, k, **pairs)
        context, weights = self._weigh(scores, v, masks, training, **pairs)
        outputs = self._merge(context)
        return (outputs, weights) if return_attention_scores else outputs

    # Hooks of the subclasses; `pairs` are tensors with an entry for each pair
    # of a query and a key.

    def _scores(self, q, k, attention_bias=None):
        """Returns the scores before masks and softmax, `(b, h, n, m)`."""
        return attention_scores(q, k, attention_bias)

    def _context(self, weights, v, attention_bias=None):
        """Returns the weighted sums of the values, `(b, n, h, head_dim)`."""
        return attention_context(weights, v)

    def _weigh(self, scores, v, masks, training, **pairs):
        """Returns the context, and the weights before dropout."""
        mask = joined_mask(masks, *ops.shape(scores)[2:])
        if mask is not None:
            mask = ops.expand_dims(mask, 1)  # (1|b, 1, 1|n, m)
        weights = attention_weights(scores, mask, self.normalization)
        weights = ops.cast(weights, self.compute_dtype)
        dropped = self._drop(weights, training)
        context = self._context(dropped, v, **pairs)
        return ops.cast(context, self.compute_dtype), weights

    def _scaled(self, q):
        """Divides q by √d, before the product: float16 ends at 65504."""
        return q * (q.shape[-1] ** -0.5) if self.attention_scale else q

    def _is_fused(self, q, v, training):
        """Tells whether the backend's fused kernel gives the same result."""
        return (
            self.normalization == "softmax"
            # of which Keras makes float32 on JAX and PyTorch
            and self.compute_dtype != "float64"
            and q.shape[-1] == v.shape[-1]
            and q.shape[1] != 1  # nothing to save
            and not (training and self.dropout)
        )

    def compute_output_spec(self, *args, **kwargs):
        # Keras traces `call`, since the result depends on more than shapes
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def get_config(self):
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "attention_scale": self.attention_scale,
        }
