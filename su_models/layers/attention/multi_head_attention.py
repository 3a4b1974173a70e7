"""Dense multi-head attention."""

import keras
from keras import ops

from su_models.layers.attention.masks import (
    both_masks,
    join_attention_mask,
    split_attention_mask,
)
from su_models.layers.attention.projections import _ProjectedAttention
from su_models.layers.attention.scores import (
    attention_context,
    attention_scores,
)
from su_models.layers.attention.weights import (
    NORMALIZATIONS,
    attention_weights,
    softmax_attention,
)
from su_models.ops.attention_mask import causal_mask, prefix_mask
from su_models.ops.kv_cache import update_cache
from su_models.utils.checks import check_shape


@keras.saving.register_keras_serializable(package="su_models")
class MultiHeadAttention(_ProjectedAttention):
    """Attention of several heads, with the author's masks and positions.

    Article: https://kexue.fm/archives/4765
        《Attention is All You Need》浅读（简介+代码）
    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Article: https://kexue.fm/archives/8823
        《从熵不变性看Attention的Scale操作》
    Article: https://kexue.fm/archives/8027
        《RealFormer：把残差转移到Attention矩阵上面去》
    Paper: https://arxiv.org/abs/1706.03762

        Attention(Q, K, V) = softmax(Q Kᵀ / √d) V         Eq. (4) of 4765
        head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)     Eq. (6)

    What it knows of order is what it is told: rotated queries and keys
    (`rotary_base`), embeddings of relative positions (`RelativePosition-
    Embedding`), a bias of the scores (`RelativePositionBias`; also the
    scores of the layer before, in RealFormer), and masks: causal, or of a
    prefix that is seen whole (UniLM, `segment_ids`).

    True = attend. The padding of the keys is masked by the implicit mask of
    an upstream layer, `mask=`, or `attention_mask=`. A query that may attend
    to nothing has context 0, so its output is the output bias. The mask of
    the queries passes through. Variables: those of Keras, in the order q, k,
    v, o; initializers see each kernel as the matrix that it is.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of the values.
        key_dim: int > 0. Size of a head of queries and keys. None:
            `head_dim`.
        output_dim: int > 0. Size of the output. None: that of the queries.
        use_bias: whether the projections have biases.
        rotary_base: float > 0. Rotates queries and keys (`RotaryEmbedding`);
            `key_dim` is even then. None: no rotation.
        normalization: "softmax"; "softmax_plus", which scales the scores
            with the length, so that their entropy stays; "squared_relu".
            See `su_models.layers.attention.weights`.
        attention_scale: whether the scores are divided by `√key_dim`.
        dropout: float in [0, 1). Share of the weights zeroed in training.
        kernel_initializer: of the projections.
        bias_initializer: of the biases.
        seed: int. Seed of the dropout.

    Call arguments:
        query: `(batch, n, features)`.
        value: `(batch, m, features)`. None: `query`, self-attention.
        key: `(batch, m, features)`. None: `value`.
        mask: booleans `(batch, m)`, padding of self-attention; usually not
            passed, but taken from upstream, as `query_mask`, `value_mask`
            and `key_mask` are.
        attention_mask: booleans, `(batch, m)` or `(batch, n, m)`.
        segment_ids: integers `(batch, n)`: 0 for a prefix that is seen
            whole, 1 for what is generated after it.
        positions: integers, `(n,)` or `(batch, n)`, of the queries (and of
            the keys in self-attention) to be rotated. None: 0, ..., n - 1,
            or from `cache_index` on.
        attention_bias: `(1|batch, 1|heads, n, m)`, added to scaled scores.
        relative_embeddings: `(1|batch, n, m, key_dim)`, added to the keys
            and to the values (NEZHA); `key_dim` equals `head_dim` then.
        cache: a pair `(batch, slots, heads, key_dim)`, `(batch, slots,
            heads, head_dim)`, to attend to, as it is (without `cache_index`:
            cross-attention) or with the keys and values of `query` written
            into it; only slots written so far are attended to. Key masks are
            then of the slots, and the implicit mask is not taken.
        cache_index: first slot to write: a scalar, or integers `(batch,)`.
        use_causal_mask: whether query i attends to keys up to i.
        return_attention_scores: whether to return the weights as well.
        return_attention_logits: whether to return the scores before
            normalization as well, unmasked.
        return_cache: whether to return keys and values as well; always, if
            `cache` is given. If functional models share the layer, the one
            made first should ask for it: Keras (3.15) expects no more
            outputs of a layer than its first call had.

    Returns:
        A tensor `(batch, n, output_dim)`; or a tuple of it and what was
        asked for, in the order weights `(batch, heads, n, m)`, logits of the
        same shape, cache.

    Raises:
        ValueError: if an argument has a wrong shape, an odd `key_dim` is to
            be rotated, tokens do not fit in the cache, or arguments
            contradict each other.

    Example:

    >>> attention = su_models.layers.MultiHeadAttention(
    ...     num_heads=4, head_dim=16, rotary_base=10000.0
    ... )
    >>> x = keras.random.normal((2, 7, 64))
    >>> tuple(attention(x, use_causal_mask=True).shape)
    (2, 7, 64)

    The same token by token, the keys and values kept:

    >>> cache = attention.empty_cache(batch_size=2, length=7)
    >>> for i in range(7):
    ...     y, cache = attention(x[:, i : i + 1], cache=cache, cache_index=i)
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
            **kwargs,
        )
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {NORMALIZATIONS}. "
                f"Received: normalization={normalization!r}"
            )
        self.normalization = normalization
        self.attention_scale = attention_scale

    def empty_cache(self, batch_size, length):
        """Returns a cache of `length` slots that nothing was written into."""
        shape = (batch_size, length, self.num_heads)
        key_dim = self.key_dim or self.head_dim
        return (
            ops.zeros((*shape, key_dim), self.compute_dtype),
            ops.zeros((*shape, self.head_dim), self.compute_dtype),
        )

    def call(
        self,
        query,
        value=None,
        key=None,
        mask=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        segment_ids=None,
        positions=None,
        attention_bias=None,
        relative_embeddings=None,
        cache=None,
        cache_index=None,
        use_causal_mask=False,
        return_attention_scores=False,
        return_attention_logits=False,
        return_cache=False,
        training=None,
    ):
        _check_combination(value, key, mask, segment_ids, cache, cache_index)
        q, k, v = self._queries_keys_values(
            query, value, key, positions, cache, cache_index
        )
        if cache is not None:  # masks from upstream know nothing of slots
            key_masks = {"mask": mask}
        elif value is None:
            key_masks = {"mask": mask, "query_mask": query_mask}
        else:
            key_masks = {"value_mask": value_mask, "key_mask": key_mask}
        key_mask, pair_mask = split_attention_mask(
            q.shape, k.shape, attention_mask, key_masks
        )
        if segment_ids is not None:
            check_shape("segment_ids", segment_ids, q.shape[:2])
            pair_mask = both_masks(pair_mask, prefix_mask(segment_ids))

        fused = (
            self.normalization == "softmax"
            and q.shape[-1] == v.shape[-1]
            and attention_bias is None
            and relative_embeddings is None
            and not (return_attention_scores or return_attention_logits)
            and not (training and self.dropout)
        )
        is_causal = (
            fused
            and use_causal_mask
            and (value is None and cache is None)
            and (key_mask is None and pair_mask is None)
        )  # then no mask of n² is made
        if not is_causal:
            order = _order(q, k, cache_index, use_causal_mask)
            pair_mask = both_masks(pair_mask, order)
        mask = join_attention_mask(key_mask, pair_mask)
        if mask is not None:
            mask = ops.expand_dims(mask, 1)  # (1|b, 1, 1|n, m)
        if self.attention_scale:  # first: float16 ends at 65504
            q = q * (q.shape[-1] ** -0.5)

        if fused:
            context = softmax_attention(q, k, v, mask, is_causal, scale=1.0)
        else:
            logits = attention_scores(q, k, attention_bias, relative_embeddings)
            weights = attention_weights(logits, mask, self.normalization)
            weights = ops.cast(weights, self.compute_dtype)
            dropped = self._drop(weights, training)
            context = attention_context(dropped, v, relative_embeddings)
        outputs = [self._merge(context)]
        if return_attention_scores:
            outputs.append(weights)
        if return_attention_logits:
            outputs.append(logits)
        if return_cache or cache is not None:
            outputs.append((k, v))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _queries_keys_values(
        self, query, value, key, positions, cache, cache_index
    ):
        """Returns q `(b, n, h, key_dim)`, and k, v with m instead of n."""
        if positions is not None and self.rotary_base is None:
            raise ValueError(
                "`positions` are rotated, so they need a `rotary_base`. "
                f"Received: positions={positions}, rotary_base=None"
            )
        if positions is None and cache_index is not None:
            n = ops.shape(query)[1]
            positions = ops.expand_dims(cache_index, -1) + ops.arange(n)
        _check_features("query", query, self.query_dense, query)
        q = self._rotate(self.query_dense(query), positions)
        if cache is not None:
            self._check_cache(cache, query)
        if cache is not None and cache_index is None:
            return q, *cache
        if value is not None:
            positions = None  # of the queries alone
        value = query if value is None else value
        key = value if key is None else key
        _check_features("value", value, self.value_dense, query)
        _check_features("key", key, self.key_dense, query, value.shape[1])
        k = self._rotate(self.key_dense(key), positions)
        v = self.value_dense(value)
        if cache is not None:
            k = update_cache(cache[0], k, cache_index)
            v = update_cache(cache[1], v, cache_index)
        return q, k, v

    def _check_cache(self, cache, query):
        shapes = [tuple(x.shape) for x in keras.tree.flatten(cache)]
        if len(shapes) != 2:
            raise ValueError(
                "`cache` must be a pair of keys and values. "
                f"Received: cache of shapes {shapes}"
            )
        slots = cache[0].shape[1] if len(shapes[0]) > 1 else None
        for x, dim in zip(cache, (self.key_dim, self.head_dim), strict=True):
            dims = self.num_heads, dim or self.head_dim
            check_shape("cache", x, (query.shape[0], slots, *dims))

    def get_config(self):
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "attention_scale": self.attention_scale,
        }


def _check_features(name, x, dense, query, length=None):
    """Refuses features that the layer was not built on."""
    check_shape(name, x, (query.shape[0], length, dense.kernel.shape[0]))


def _order(q, k, cache_index, use_causal_mask):
    """Returns the mask of what comes later, or None."""
    n, m = ops.shape(q)[1], ops.shape(k)[1]
    if use_causal_mask:
        return causal_mask(n, m, 0 if cache_index is None else cache_index)
    if cache_index is not None:  # the slots that are not written yet
        return causal_mask(1, m, cache_index + (n - 1))
    return None


def _check_combination(value, key, mask, segment_ids, cache, cache_index):
    """Refuses arguments that contradict each other."""
    given = {k: x is not None for k, x in locals().items()}

    def refuse_if(wrong, words):
        if wrong:
            names = ", ".join(name for name, here in given.items() if here)
            raise ValueError(f"{words}. Received: {names}")

    g = given
    refuse_if(g["key"] and not g["value"], "`key` needs a `value`")
    refuse_if(
        g["value"] and g["mask"],
        "`mask` is of self-attention; with a `value` pass the mask of the "
        "keys as `attention_mask`",
    )
    refuse_if(
        g["segment_ids"] and (g["value"] or g["cache"]),
        "`segment_ids` are of self-attention, without `value` or `cache`",
    )
    refuse_if(g["value"] and g["cache"], "`cache` takes the place of `value`")
    refuse_if(
        g["cache_index"] and not g["cache"], "`cache_index` needs a `cache`"
    )
    if g["cache_index"] and not _are_integers(cache_index):
        raise ValueError(
            "`cache_index` must be an integer, or integers `(batch,)`. "
            f"Received: cache_index={cache_index}"
        )


def _are_integers(x):
    dtype = keras.backend.standardize_dtype(ops.convert_to_tensor(x).dtype)
    return keras.backend.is_int_dtype(dtype)
