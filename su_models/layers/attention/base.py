"""What the attention layers share: rotation, projections, call, cache."""

import keras
from keras import ops

from su_models.layers.attention.masks import (
    AttentionMasks,
    both_masks,
    split_attention_mask,
)
from su_models.layers.attention.projections import projection
from su_models.layers.attention.scores import repeated_heads
from su_models.layers.position.rotary_embedding import RotaryEmbedding
from su_models.ops.attention_mask import causal_mask
from su_models.ops.kv_cache import update_cache
from su_models.utils.checks import (
    check_flag,
    check_number,
    check_seed,
    check_shape,
    check_share,
    check_size,
)


class BaseAttention(keras.layers.Layer):
    """Rotation, dropout, and decoding with a cache of keys and values.

    A subclass has these hooks, of which the last is its mathematics:

    * `_project(query, positions)` returns q, k and v of one sequence, q and
      k rotated: `(batch, n, heads, dim)`;
    * `_queries(query, positions)` returns q alone, for cross-attention;
    * `_cache_sizes()` returns the heads and the two sizes of a cache;
    * `_attend(q, k, v, masks, training, **options)` returns what `call`
      returns. The options are the call arguments of this subclass alone.

    Decoding is the method `step`, and neither a class nor arguments of
    `call`: it uses the same hooks, so every form of attention (relative,
    residual, gated, grouped queries) can be decoded without a line of its
    own, and a call recorded from a functional model is replayed on one token
    with the arguments that it had.

    Args:
        key_dim: int > 0. Size of a head of queries and keys.
        rotary_base: float > 0. Rotates queries and keys by their positions
            (`RotaryEmbedding`); `key_dim` is even then. None: no rotation.
        dropout: float in [0, 1). Share of the attention weights that is set
            to zero in training.
        seed: int. Seed of the dropout.
    """

    def __init__(
        self, key_dim, rotary_base=None, dropout=0.0, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.dropout = check_share("dropout", dropout)
        self.seed = check_seed(seed)
        self.rotary_base = check_number(
            "rotary_base", rotary_base, above=0, optional=True
        )
        self.supports_masking = True
        if self.dropout:
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        if rotary_base is None:
            return
        if key_dim % 2:
            raise ValueError(
                "The size of queries and keys must be even to be rotated. "
                f"Received: key_dim={key_dim}, rotary_base={rotary_base}"
            )
        self.rotary = RotaryEmbedding(
            rotary_base, dtype=self.dtype_policy, name="rotary"
        )

    def empty_cache(self, batch_size, length):
        """Returns a cache of `length` slots, none of them written yet.

        Returns:
            A pair of keys and values, `(batch_size, heads, length, dim)`, of
            the compute dtype.
        """
        heads, *dims = self._cache_sizes()
        return tuple(
            ops.zeros((batch_size, heads, length, dim), self.compute_dtype)
            for dim in dims
        )

    def step(
        self,
        query,
        cache,
        index=None,
        attention_mask=None,
        use_causal_mask=False,
        positions=None,
        **options,
    ):
        """Attends to a cache, for decoding token by token.

        With an `index` the keys and values of `query` are written into the
        cache, from slot `index` on, and only slots written so far are
        attended to. Without one the cache is attended to as it is
        (cross-attention). The room of a cache does not grow, so one compiled
        program serves every token.

        Args:
            query: `(batch, n, features)`: a prompt, or one token.
            cache: a pair of keys and values, `(batch, heads, slots, dim)`,
                from `empty_cache`, `compute_cache` or the step before.
            index: the first slot to write: an integer, or integers
                `(batch,)`, of any integer dtype.
            attention_mask: booleans, `(batch, slots)` or `(batch, n, slots)`.
            use_causal_mask: whether token i of `query` attends to no later
                token of `query`.
            positions: integers, `(n,)` or `(batch, n)`, of the tokens, to be
                rotated. None: the slots, or 0, ..., n - 1 without `index`.
            **options: call arguments that this class has beside those of
                every attention layer, such as `attention_bias`.

        Returns:
            `(outputs, cache)`: what a call of the layer returns, and the
            cache with the new keys and values.

        Raises:
            ValueError: if an argument has a wrong shape, or `query` does not
                fit in the cache. In a compiled program, where `index` has no
                value yet, the outputs are NaN then.
        """
        query, options = keras.tree.map_structure(
            self._converted, (query, options)
        )
        if not self.built:
            self.build(tuple(query.shape))
        self._check_cache(cache, query.shape[0])
        k, v = cache
        n, slots = ops.shape(query)[1], ops.shape(k)[2]
        first = index
        if index is None:
            q = self._queries(query, positions)
        else:
            first = ops.cast(ops.convert_to_tensor(index), "int32")
            if positions is None and self.rotary_base is not None:
                positions = ops.expand_dims(first, -1) + ops.arange(n)
            q, *new = self._project(query, positions)
            k, v = (
                update_cache(old, _swapped(x), index)
                for old, x in zip(cache, new, strict=True)
            )
        keys, pairs = split_attention_mask(
            query.shape, (query.shape[0], k.shape[2]), attention_mask
        )
        if use_causal_mask:
            order = causal_mask(n, slots, 0 if first is None else first)
        elif first is None:
            order = None
        else:  # all that is written
            order = causal_mask(1, slots, first + (n - 1))
        masks = AttentionMasks(keys, both_masks(pairs, order))
        outputs = self._attend(q, _swapped(k), _swapped(v), masks, **options)
        return outputs, (k, v)

    def _converted(self, x):
        """Returns what a call of the layer makes of an argument."""
        policy = self.dtype_policy
        return policy.convert_input(x, self.autocast, policy.compute_dtype)

    def _check_cache(self, cache, batch_size):
        shapes = [tuple(x.shape) for x in keras.tree.flatten(cache)]
        if len(shapes) != 2:
            raise ValueError(
                "`cache` must be a pair of keys and values. "
                f"Received: cache of shapes {shapes}"
            )
        slots = shapes[0][2] if len(shapes[0]) > 2 else None
        heads, *dims = self._cache_sizes()
        for x, dim in zip(cache, dims, strict=True):
            check_shape("cache", x, (batch_size, heads, slots, dim))

    def _rotate(self, x, positions=None):
        """Returns `x` rotated, or `x` itself where nothing is rotated."""
        if self.rotary_base is not None:
            return self.rotary(x, positions=positions)
        if positions is not None:
            raise ValueError(
                "`positions` are rotated, so they need a `rotary_base`. "
                f"Received: positions={positions}, rotary_base=None"
            )
        return x

    def _drop(self, weights, training):
        """Returns attention weights, some of them zero in training."""
        if not (training and self.dropout):
            return weights
        return keras.random.dropout(
            weights, self.dropout, seed=self.seed_generator
        )

    def get_config(self):
        return {
            **super().get_config(),
            "rotary_base": self.rotary_base,
            "dropout": self.dropout,
            "seed": self.seed,
        }


class BaseMultiHeadAttention(BaseAttention):
    """Projections q, k, v, o, of the shapes of `keras.layers` (3.15).

    The variables are, in this order, the kernels and (with `use_bias`)
    biases of q, k, v and o: `(d, heads, key_dim)`, `(heads, key_dim)`,
    twice; `(d, heads, head_dim)`, `(heads, head_dim)`; `(heads, head_dim,
    output_dim)`, `(output_dim,)`. So `set_weights` takes those of any other
    attention layer of the library, and those of Keras.

    A subclass has `_attend(q, k, v, masks, training, **options)`; `call` has
    the form of Keras. A subclass with options of its own repeats the
    signature of `call` and passes them to `_call`.

    Args: those that `MultiHeadAttention` shares with the sparse layers.
    """

    same_length = False  # whether keys stand where the queries do

    def __init__(
        self,
        num_heads,
        head_dim,
        key_dim=None,
        output_dim=None,
        use_bias=True,
        rotary_base=None,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        seed=None,
        num_key_value_heads=None,
        **kwargs,
    ):
        check_size("head_dim", head_dim)
        check_size("key_dim", key_dim, optional=True)
        super().__init__(
            head_dim if key_dim is None else key_dim,
            rotary_base,
            dropout,
            seed,
            **kwargs,
        )
        self.num_heads = check_size("num_heads", num_heads)
        self.head_dim = check_size("head_dim", head_dim)
        self.key_dim = check_size("key_dim", key_dim, optional=True)
        self.output_dim = check_size("output_dim", output_dim, optional=True)
        self.num_key_value_heads = check_size(
            "num_key_value_heads", num_key_value_heads, optional=True
        )
        if self.num_heads % (self.num_key_value_heads or 1):
            raise ValueError(
                "`num_key_value_heads` must divide `num_heads`. Received: "
                f"num_key_value_heads={num_key_value_heads}, "
                f"num_heads={num_heads}"
            )
        self.use_bias = check_flag("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, query_shape, value_shape=None, key_shape=None):
        value_shape = value_shape or query_shape
        key_shape = key_shape or value_shape
        _check_shape("query", query_shape)
        _check_shape("value", value_shape)
        _check_shape("key", key_shape)
        heads, key_dim, value_dim = self._cache_sizes()
        self.query_dense = self._dense(
            "query", query_shape, (self.num_heads, key_dim)
        )
        self.key_dense = self._dense("key", key_shape, (heads, key_dim))
        self.value_dense = self._dense("value", value_shape, (heads, value_dim))
        self.output_dense = self._dense(
            "attention_output",
            (*query_shape[:2], self.num_heads, value_dim),
            (self.output_dim or query_shape[-1],),
        )
        self.built = True

    def _dense(self, name, input_shape, output_dims):
        return projection(
            name,
            input_shape,
            output_dims,
            self.use_bias,
            self.kernel_initializer,
            self.bias_initializer,
            self.dtype_policy,
        )

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
    ):
        return self._call(
            (query, value, key),
            (mask, query_mask, value_mask, key_mask),
            attention_mask,
            use_causal_mask,
            positions,
            training=training,
        )

    def _call(
        self,
        inputs,
        implicit_masks,
        attention_mask,
        use_causal_mask,
        positions,
        **options,
    ):
        """Projects, joins the masks, and attends.

        Args:
            inputs: query, value and key.
            implicit_masks: `mask`, then those of query, value and key, as
                Keras passes them.
            attention_mask, use_causal_mask, positions: as of `call`.
            **options: as of `_attend`.
        """
        query, value, key = inputs
        mask, query_mask, value_mask, key_mask = implicit_masks
        alone = value is None  # self-attention
        if alone and key is not None:
            raise ValueError(
                "`key` needs a `value`. Received: key without value"
            )
        if not alone and mask is not None:
            raise ValueError(
                "`mask` is of self-attention; with a `value` pass the mask of "
                "the keys as `attention_mask`. Received: value, mask"
            )
        value = query if alone else value
        key = value if key is None else key
        q = self._queries(query, positions)
        k, v = self._keys_and_values(
            value,
            key,
            positions if alone or self.same_length else None,
            query.shape[:2] if self.same_length else (query.shape[0], None),
        )
        if alone:
            key_masks = {"mask": mask, "query_mask": query_mask}
        else:
            key_masks = {"value_mask": value_mask, "key_mask": key_mask}
        keys, pairs = split_attention_mask(
            query.shape, key.shape, attention_mask, key_masks
        )
        if use_causal_mask and not (alone or self.same_length):
            order = causal_mask(ops.shape(query)[1], ops.shape(key)[1])
            pairs, use_causal_mask = both_masks(pairs, order), False
        masks = AttentionMasks(keys, pairs, use_causal_mask)
        return self._attend(q, k, v, masks, **options)

    def compute_cache(self, value, key=None, positions=None):
        """Returns the keys and values of a sequence, for `step` to read.

        Args:
            value: `(batch, m, features)`, such as an encoder's output.
            key: `(batch, m, features)`. None: `value`.
            positions: integers, `(m,)` or `(batch, m)`, to be rotated.

        Returns:
            A pair of keys and values, `(batch, heads, m, dim)`.
        """
        if not self.built:
            raise ValueError(
                "The layer must be built, by a call of it or `build`, before "
                f"it computes a cache. Received: built={self.built}"
            )
        value, key = keras.tree.map_structure(
            self._converted, (value, value if key is None else key)
        )
        k, v = self._keys_and_values(
            value, key, positions, (value.shape[0], None)
        )
        return _swapped(k), _swapped(v)

    def _cache_sizes(self):
        heads = self.num_key_value_heads or self.num_heads
        return heads, self.key_dim or self.head_dim, self.head_dim

    def _queries(self, query, positions):
        _check_features("query", query, self.query_dense, (None, None))
        return self._rotate(self.query_dense(query), positions)

    def _keys_and_values(self, value, key, positions, lengths):
        _check_features("value", value, self.value_dense, lengths)
        _check_features("key", key, self.key_dense, value.shape[:2])
        k = self._rotate(self.key_dense(key), positions)
        return k, self.value_dense(value)

    def _project(self, query, positions):
        q = self._queries(query, positions)
        k, v = self._keys_and_values(query, query, positions, query.shape[:2])
        return q, k, v

    def _merge(self, context):
        """Returns `(b, n, output_dim)` of contexts `(b, n, h, head_dim)`."""
        return self.output_dense(context)

    def compute_output_shape(
        self, query_shape, value_shape=None, key_shape=None
    ):
        return (*query_shape[:-1], self.output_dim or query_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "key_dim": self.key_dim,
            "output_dim": self.output_dim,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "num_key_value_heads": self.num_key_value_heads,
        }


class BaseSelfAttention(BaseMultiHeadAttention):
    """Self-attention that gathers its masks instead of making one of n².

    A subclass has `_sparse(q, k, v, causal, key_mask, pair_mask, drop)`,
    which calls one of `su_models.ops` with its own sizes.
    """

    same_length = True

    def step(self, *args, **kwargs):
        """Raises an error: a sparse layer attends to whole sequences.

        `MultiHeadAttention` has the same variables; give it the pattern as
        its `attention_mask`.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `step`. Decode with a "
            "`MultiHeadAttention` of the same variables, whose "
            "`attention_mask` is the pattern of this layer."
        )

    def _attend(self, q, k, v, masks, training=None):
        k, v = (repeated_heads(x, self.num_heads) for x in (k, v))
        context = self._sparse(
            q,
            k,
            v,
            causal=masks.causal,
            key_mask=masks.keys,
            pair_mask=masks.pairs,
            drop=lambda weights: self._drop(weights, training),
        )
        return self._merge(context)


def _check_shape(name, shape):
    if len(shape) != 3 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must be `(batch, length, features)`, with a known "
            f"number of features. Received: {name} of shape {tuple(shape)}"
        )


def _check_features(name, x, dense, lengths):
    """Rejects inputs with features that the layer was not built on."""
    check_shape(name, x, (*lengths, dense.kernel.shape[0]))


def _swapped(x):
    """Returns `(b, h, n, d)` of `(b, n, h, d)`, and the other way round."""
    return ops.transpose(x, (0, 2, 1, 3))
