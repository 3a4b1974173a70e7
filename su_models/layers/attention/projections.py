"""What dense and sparse attention share: projections, sizes, rotation."""

import math

import keras
from keras import ops

from su_models.layers.position.rotary_embedding import RotaryEmbedding
from su_models.utils.checks import check_share, check_size


class _ProjectedAttention(keras.layers.Layer):
    """Projections q, k, v, o, of the shapes of `keras.layers` (3.15).

    The variables are, in this order, the kernels and (with `use_bias`)
    biases of q, k, v and o: `(d, heads, key_dim)`, `(heads, key_dim)`,
    twice; `(d, heads, head_dim)`, `(heads, head_dim)`; `(heads, head_dim,
    output_dim)`, `(output_dim,)`. So `set_weights` takes those of any other
    attention layer of the library, and those of Keras.

    A subclass calls `_project` and `_merge`; its `build` is inherited.

    Args:
        num_heads: int > 0. Number of heads.
        head_dim: int > 0. Size of a head of the values.
        key_dim: int > 0. Size of a head of queries and keys. None:
            `head_dim`.
        output_dim: int > 0. Size of the output. None: that of the queries.
        use_bias: whether the projections have biases.
        rotary_base: float > 0. Rotates queries and keys by their positions
            (`RotaryEmbedding`); `key_dim` is even then. None: no rotation.
        dropout: float in [0, 1). Share of the attention weights that is set
            to zero in training.
        kernel_initializer: of the projections, each seen as the matrix that
            it is (the sum over all axes in, by all axes out).
        bias_initializer: of the biases.
        seed: int. Seed of the dropout.
    """

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = check_size("num_heads", num_heads)
        self.head_dim = check_size("head_dim", head_dim)
        self.key_dim = check_size("key_dim", key_dim, optional=True)
        self.output_dim = check_size("output_dim", output_dim, optional=True)
        self.dropout = check_share("dropout", dropout)
        if rotary_base is not None and (self.key_dim or self.head_dim) % 2:
            raise ValueError(
                "`key_dim` (or `head_dim`, if that is None) must be even to "
                f"be rotated. Received: key_dim={key_dim}, "
                f"head_dim={head_dim}, rotary_base={rotary_base}"
            )
        self.use_bias = use_bias
        self.rotary_base = rotary_base
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.seed = seed
        self.supports_masking = True
        if dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)
        if rotary_base is not None:
            self.rotary = RotaryEmbedding(
                rotary_base, dtype=self.dtype_policy, name="rotary"
            )

    def build(self, query_shape, value_shape=None, key_shape=None):
        value_shape = value_shape or query_shape
        key_shape = key_shape or value_shape
        _check_shape("query", query_shape)
        _check_shape("value", value_shape)
        _check_shape("key", key_shape)
        h, key_dim = self.num_heads, self.key_dim or self.head_dim
        self.query_dense = self._dense("query", query_shape, (h, key_dim))
        self.key_dense = self._dense("key", key_shape, (h, key_dim))
        self.value_dense = self._dense("value", value_shape, (h, self.head_dim))
        self.output_dense = self._dense(
            "attention_output",
            (*query_shape[:2], h, self.head_dim),
            (self.output_dim or query_shape[-1],),
        )
        self.built = True

    def _dense(self, name, input_shape, output_dims):
        """Returns a built projection of all axes after the second."""
        merged, made = "cd"[: len(input_shape) - 2], "ef"[: len(output_dims)]
        dense = keras.layers.EinsumDense(
            f"ab{merged},{merged}{made}->ab{made}",
            output_shape=(None, *output_dims),
            bias_axes=made if self.use_bias else None,
            kernel_initializer=_as_matrix(self.kernel_initializer, len(merged)),
            bias_initializer=self.bias_initializer,
            dtype=self.dtype_policy,
            name=name,
        )
        dense.supports_masking = True  # attention reads it, and passes it on
        dense.build(input_shape)
        return dense

    def _project(self, query, value, key):
        """Returns q, k `(b, n|m, h, key_dim)`, v `(b, m, h, head_dim)`."""
        return (
            self.query_dense(query),
            self.key_dense(key),
            self.value_dense(value),
        )

    def _rotate(self, x, positions=None):
        """Returns `x` rotated, or `x` itself where nothing is rotated."""
        if self.rotary_base is None:
            return x
        return self.rotary(x, positions=positions)

    def _merge(self, context):
        """Returns `(b, n, output_dim)` of contexts `(b, n, h, head_dim)`."""
        return self.output_dense(context)

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
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "key_dim": self.key_dim,
            "output_dim": self.output_dim,
            "use_bias": self.use_bias,
            "rotary_base": self.rotary_base,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "seed": self.seed,
        }


def _as_matrix(initializer, num_inputs):
    """Returns an initializer that counts fans as those of a matrix.

    The first `num_inputs` axes of a kernel are summed over, the others are
    made. Keras would read `(d, heads, dim)` as a convolution of size d.
    """
    if isinstance(initializer, keras.initializers.Initializer):
        # or the instance, which has one seed, draws the same numbers again
        initializer = initializer.clone()

    def initialize(shape, dtype=None):
        d = math.prod(shape[:num_inputs])
        matrix = initializer((d, math.prod(shape) // d), dtype=dtype)
        return ops.reshape(matrix, shape)

    return initialize


def _check_shape(name, shape):
    if len(shape) != 3 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must be `(batch, length, features)`, with a known "
            f"number of features. Received: {name} of shape {tuple(shape)}"
        )
