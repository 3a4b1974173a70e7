"""Bases of the attention layers: rotation, projections, call and cache."""

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
    check_initializer,
    check_number,
    check_seed,
    check_shape,
    check_share,
    check_size,
)

_FLAGS = {"use_causal_mask", "return_attention_scores"}


class BaseAttention(keras.layers.Layer):
    """Base with rotation, dropout, and decoding with a key-value cache.

    A subclass defines these hooks; the last one holds its mathematics:

    * `_project(query, positions)` returns q, k and v of one sequence, q and
      k rotated: `(batch, n, heads, dim)`;
    * `_queries(query, positions)` returns only q, for cross-attention;
    * `_cache_sizes()` returns the number of heads in a cache, and the sizes
      of a key and of a value;
    * `_attend(q, k, v, masks, training, **options)` returns the result of
      `call`. The options are the call arguments that only this subclass has.

    Decoding is a method, `step`, rather than a class or arguments of `call`.
    It uses the same hooks, so every form of attention (relative, residual,
    gated, grouped queries) decodes without code of its own, and a call that
    a functional model recorded can be replayed on one token with the same
    arguments.

    Args:
        key_dim: int > 0. Size of a head of queries and keys.
        rotary_base: float > 0. Rotates queries and keys by their positions
            (`RotaryEmbedding`); `key_dim` must then be even. None: no
            rotation.
        dropout: float in [0, 1). Share of the attention weights that are set
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

    def __call__(self, *args, **kwargs):
        # Keras makes a tensor of NumPy's bool, which a flag cannot be
        for name in _FLAGS.intersection(kwargs):
            kwargs[name] = check_flag(name, kwargs[name])
        return super().__call__(*args, **kwargs)

    def empty_cache(self, batch_size, length):
        """Returns an empty cache of `length` slots.

        Returns:
            A pair of keys and values, `(batch_size, heads, length, dim)`, in
            the compute dtype.

        Raises:
            ValueError: if a size is no integer > 0.
        """
        for name, size in (("batch_size", batch_size), ("length", length)):
            if not ops.is_tensor(size):
                check_size(name, size)
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
        weights=None,
        **options,
    ):
        """Attends to a cache, for decoding token by token.

        With an `index`, the step writes the keys and values of `query` into
        the cache, from slot `index` on, and attends only to the slots written
        so far. Without an `index`, it attends to the cache as it is
        (cross-attention). The size of a cache is fixed, so one compiled
        program serves every token.

        Args:
            query: `(batch, n, features)`: a prompt, or one token.
            cache: a pair of keys and values, `(batch, heads, slots, dim)`,
                from `empty_cache`, `compute_cache` or the previous step.
            index: the first slot to write: an integer, or integers
                `(batch,)`, of any integer dtype.
            attention_mask: booleans, `(batch, slots)` or `(batch, n, slots)`.
            use_causal_mask: bool. Whether each token of `query` attends to no
                later token of `query`.
            positions: integers, `(n,)` or `(batch, n)`: positions of the
                tokens for the rotation. Defaults to the slots, or to 0, ...,
                n - 1 without `index`.
            weights: result of `step_weights`, computed once for all steps.
                None: the layer's own weights.
            **options: call arguments that this class has in addition to those
                of every attention layer, such as `attention_bias`.

        Returns:
            `(outputs, cache)`: the result of the layer's `call`, and the
            cache with the new keys and values.

        Raises:
            ValueError: if an argument has a wrong shape, or `query` does not
                fit in the cache. A compiled program cannot read `index` and
                returns NaN outputs instead.
        """
        query, options = keras.tree.map_structure(
            self._converted, (query, options)
        )
        if not self.built:
            self.build(tuple(query.shape))
        use_causal_mask = check_flag("use_causal_mask", use_causal_mask)
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
            if weights is None:
                q, *new = self._project(query, positions)
            else:
                q, *new = self._project_as_one(query, positions, weights)
            k, v = (
                update_cache(old, _swapped(x), index)
                for old, x in zip(cache, new, strict=True)
            )  # (b, h, slots, dim)
        keys, pairs = split_attention_mask(
            query.shape, (query.shape[0], k.shape[2]), attention_mask
        )
        if use_causal_mask:
            order = causal_mask(n, slots, 0 if first is None else first)
        elif first is None:
            order = None
        else:  # all slots that are written
            order = causal_mask(1, slots, first + (n - 1))
        masks = AttentionMasks(keys, both_masks(pairs, order))
        outputs = self._attend(q, _swapped(k), _swapped(v), masks, **options)
        return outputs, (k, v)

    def step_weights(self):
        """Returns weights in the form that is fastest for `step`, or None.

        A loop computes them once and passes them to each step.
        """
        return None

    def _converted(self, x):
        """Casts an argument as a call of the layer would."""
        policy = self.dtype_policy
        return policy.convert_input(x, self.autocast, policy.compute_dtype)

    def _check_cache(self, cache, batch_size):
        given = keras.tree.flatten(cache)
        shapes = [tuple(getattr(x, "shape", ())) for x in given]
        if [len(shape) for shape in shapes] != [4, 4]:
            raise ValueError(
                "`cache` must be a pair of keys and values, (batch, heads, "
                f"slots, dim). Received: cache of shapes {shapes}"
            )
        slots = shapes[0][2]
        heads, *dims = self._cache_sizes()
        for x, dim in zip(given, dims, strict=True):
            check_shape("cache", x, (batch_size, heads, slots, dim))

    def _rotate(self, x, positions=None):
        """Returns `x` rotated, or `x` itself without a `rotary_base`."""
        if self.rotary_base is not None:
            return self.rotary(x, positions=positions)
        if positions is not None:
            raise ValueError(
                "`positions` are rotated, so they need a `rotary_base`. "
                f"Received: positions={positions}, rotary_base=None"
            )
        return x

    def _drop(self, weights, training):
        """Applies dropout to attention weights in training."""
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
    """Base with the projections q, k, v, o in the shapes of Keras (3.15).

    The variables are, in this order, the kernels and (with `use_bias`)
    biases of q, k, v and o: `(d, heads, key_dim)`, `(heads, key_dim)`,
    twice; `(d, heads, head_dim)`, `(heads, head_dim)`; `(heads, head_dim,
    output_dim)`, `(output_dim,)`. So `set_weights` accepts the weights of any
    other attention layer of the library, and of Keras' layer.

    A subclass defines `_attend(q, k, v, masks, training, **options)`; `call`
    has the signature of Keras' layer. A subclass with options of its own
    repeats the signature of `call` and passes them to `_call`.

    Args: those that `MultiHeadAttention` shares with the sparse layers.
    """

    same_length = False  # whether keys and queries have the same positions

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
        self.kernel_initializer = check_initializer(
            "kernel_initializer", kernel_initializer
        )
        self.bias_initializer = check_initializer(
            "bias_initializer", bias_initializer
        )

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
            attention_mask, use_causal_mask, positions: as in `call`.
            **options: as in `_attend`.
        """
        use_causal_mask = check_flag("use_causal_mask", use_causal_mask)
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
        q = self._queries(query, positions)  # (b, n, h, key_dim)
        k, v = self._keys_and_values(  # (b, m, groups, key_dim | head_dim)
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
            positions: integers, `(m,)` or `(batch, m)`, for the rotation.

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
        query = ops.cast(query, self.compute_dtype)  # may be integers
        return self._rotate(self.query_dense(query), positions)

    def _keys_and_values(self, value, key, positions, lengths):
        _check_features("value", value, self.value_dense, lengths)
        _check_features("key", key, self.key_dense, value.shape[:2])
        value, key = (ops.cast(x, self.compute_dtype) for x in (value, key))
        k = self._rotate(self.key_dense(key), positions)
        return k, self.value_dense(value)

    def _project(self, query, positions):
        q = self._queries(query, positions)
        k, v = self._keys_and_values(query, query, positions, query.shape[:2])
        return q, k, v

    def step_weights(self):
        """Returns the projections of q, k and v as one, `(d, sizes)`.

        Returns:
            A list of the kernel and, with `use_bias`, the bias, in the compute
            dtype; or None if the projections are quantized, or take inputs of
            different sizes.
        """
        denses = self.query_dense, self.key_dense, self.value_dense
        features = {dense.kernel.shape[0] for dense in denses}
        if len(features) > 1 or any(d.quantization_mode for d in denses):
            return None
        names = ("kernel", "bias") if self.use_bias else ("kernel",)
        made = []
        for name in names:
            parts = [ops.convert_to_tensor(getattr(d, name)) for d in denses]
            parts = [ops.reshape(x, (*x.shape[:-2], -1)) for x in parts]
            joined = ops.concatenate(parts, axis=-1)  # (d, sizes) or (sizes,)
            made.append(ops.cast(joined, self.compute_dtype))
        return made

    def _project_as_one(self, query, positions, weights):
        """Returns q, k and v by the product with `step_weights`."""
        _check_features("query", query, self.query_dense, (None, None))
        kernel, *bias = weights
        y = ops.matmul(ops.cast(query, self.compute_dtype), kernel)
        y = ops.add(y, bias[0]) if bias else y  # (b, n, sizes)
        groups, key_dim, value_dim = self._cache_sizes()
        h = self.num_heads
        ends = h * key_dim, (h + groups) * key_dim
        q, k, v = (
            ops.reshape(x, (*ops.shape(x)[:2], heads, dim))
            for x, heads, dim in zip(
                ops.split(y, ends, axis=-1),
                (h, groups, groups),
                (key_dim, key_dim, value_dim),
                strict=True,
            )
        )
        return self._rotate(q, positions), self._rotate(k, positions), v

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
    """Base of self-attention that never builds an n × n mask.

    A subclass defines `_sparse(q, k, v, causal, key_mask, pair_mask, drop)`,
    which calls a function of `su_models.ops` with its own sizes.
    """

    same_length = True

    def step(self, *args, **kwargs):
        """Raises an error: a sparse layer attends to whole sequences.

        To decode, use a `MultiHeadAttention`, which has the same variables,
        and pass the pattern as its `attention_mask`.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `step`. Decode with a "
            "`MultiHeadAttention` that has the same variables, and pass it "
            "the pattern of this layer as `attention_mask`."
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
    """Rejects inputs whose features differ from those of `build`."""
    check_shape(name, x, (*lengths, dense.kernel.shape[0]))


def _swapped(x):
    """Swaps the second and third axis: `(b, n, h, d)` to `(b, h, n, d)`."""
    return ops.transpose(x, (0, 2, 1, 3))
