"""Scores of all spans of a sequence for each type of span."""

import keras
from keras import ops

from su_models.backend.precision import accumulated_einsum
from su_models.layers.position.rotary_embedding import RotaryEmbedding
from su_models.utils.checks import (
    check_flag,
    check_initializer,
    check_mask,
    check_positive,
    check_shape,
    check_size,
)
from su_models.utils.initializers import fresh_initializer

# the score of pairs that are not spans; float16 ends at 65504
_LOWEST = {"float16": -65504.0}
_LOW = -1e12


@keras.saving.register_keras_serializable(package="su_models")
class GlobalPointer(keras.layers.Layer):
    """Scores every span (start, end) of a sequence for every type.

    Article: https://kexue.fm/archives/8373
        《GlobalPointer：用统一的方式处理嵌套和非嵌套NER》
    Paper: https://arxiv.org/abs/2208.03054

    The layer recognizes named entities, nested or not, and other spans. Each
    type α has an attention head, which scores the span from i to j by the
    product of query i and key j:

        q_(i,α) = W_(q,α) h_i + b_(q,α),   k_(i,α) = W_(k,α) h_i + b_(k,α)
        s_α(i, j) = q_(i,α)ᵀ k_(j,α)                              Eq. (1)
        s_α(i, j) = (R_i q_(i,α))ᵀ (R_j k_(j,α))                  Eq. (2)

    The second form, with RoPE, is the default; without it, the author's F1 is
    more than 30 points lower. As in the author's code, the scores are divided
    by √head_dim. Spans with a score above 0 are predicted.

    Where i or j is masked, and where i > j, the score is -1e12, or the lowest
    number of float16. The mask is dropped.

    Differs: bert4keras 0.11.5 has -inf there, and its loss is infinite with
    NaN gradients if a label is at such a position. As in bert4keras, one
    kernel holds W_q and W_k of the first type, then of the second, and so on.

    The loss is `su_models.losses.MultilabelCrossentropy` over the spans of
    one sequence and type, Eq. (3), so the last two axes must be flattened
    first, as in the example. For `SparseMultilabelCrossentropy` the labels of
    a sequence and type are a list of the numbers i · length + j, padded with
    -1, and the length must be fixed.

    Args:
        num_heads: int > 0. Number of types.
        head_dim: int > 0. Size of a query and of a key; even if
            `rotary_base` is set.
        rotary_base: float > 0. Base of the rotation (`RotaryEmbedding`).
            None: no rotation.
        use_bias: bool. Whether the projections have biases.
        tril_mask: bool. Whether to exclude i > j; use False for unordered
            pairs of tokens.
        kernel_initializer: initializer of the kernel.

    Call arguments:
        inputs: h, `(batch, length, features)`.
        mask: optional booleans `(batch, length)`; Keras passes the mask that
            an upstream layer attached.

    Returns:
        s, `(batch, num_heads, length, length)`: start, then end.

    Raises:
        ValueError: if a size is not a positive integer, `head_dim` is odd
            and `rotary_base` is set, or the inputs are not of rank 3.

    Example:

    >>> inputs = keras.Input((None, 32))
    >>> scores = su_models.layers.GlobalPointer(3, head_dim=8)(inputs)
    >>> scores.shape
    (None, 3, None, None)
    >>> model = keras.Model(inputs, keras.layers.Reshape((3, -1))(scores))
    >>> model.compile("adam", su_models.losses.MultilabelCrossentropy())
    >>> x = keras.random.normal((2, 5, 32))
    >>> labels = keras.ops.zeros((2, 3, 5, 5))  # 1 where a span has a type
    >>> labels = keras.ops.reshape(labels, (2, 3, -1))
    >>> history = model.fit(x, labels, verbose=0)

    With lists of labels: one span of the first type, from token 1 to 2, and
    no spans of the other types.

    >>> inputs = keras.Input((5, 32))
    >>> scores = su_models.layers.GlobalPointer(3, head_dim=8)(inputs)
    >>> model = keras.Model(inputs, keras.layers.Reshape((3, -1))(scores))
    >>> model.compile("adam", su_models.losses.SparseMultilabelCrossentropy())
    >>> labels = keras.ops.array([[[1 * 5 + 2], [-1], [-1]]])
    >>> history = model.fit(x[:1], labels, verbose=0)
    """

    def __init__(
        self,
        num_heads,
        head_dim,
        rotary_base=10000.0,
        use_bias=True,
        tril_mask=True,
        kernel_initializer="lecun_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = check_size("num_heads", num_heads)
        self.head_dim = check_size("head_dim", head_dim)
        self.use_bias = check_flag("use_bias", use_bias)
        self.tril_mask = check_flag("tril_mask", tril_mask)
        self.rotary_base = None
        if rotary_base is not None:
            self.rotary_base = check_positive("rotary_base", rotary_base)
            if self.head_dim % 2:
                raise ValueError(
                    "`head_dim` must be even to be rotated. Received: "
                    f"head_dim={head_dim}, rotary_base={rotary_base}"
                )
            self.rotary = RotaryEmbedding(
                self.rotary_base, dtype=self.dtype_policy, name="rotary"
            )
        self.kernel_initializer = check_initializer(
            "kernel_initializer", kernel_initializer
        )
        self.supports_masking = True

    def build(self, input_shape):
        self._check_inputs(input_shape)
        self._build_projections(input_shape)
        self.built = True

    def _build_projections(self, input_shape):
        units = self.num_heads * 2 * self.head_dim
        self.dense = self._dense("dense", units, input_shape)

    def _dense(self, name, units, input_shape):
        """Returns a built projection with the layer's initializer."""
        dense = keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build(input_shape)
        return dense

    def call(self, inputs, mask=None):
        self._check_inputs(inputs.shape)
        scores = self._scores(inputs)
        spans = self._spans(inputs, mask)
        if spans is None:
            return scores
        low = _LOWEST.get(self.compute_dtype, _LOW)
        return ops.where(spans, scores, ops.cast(low, scores.dtype))

    def _scores(self, inputs):
        """Returns s_α(i, j), `(b, h, n, n)`."""
        n = ops.shape(inputs)[1]
        x = ops.reshape(
            self.dense(inputs), (-1, n, self.num_heads, 2 * self.head_dim)
        )
        q, k = ops.split(x, 2, axis=-1)  # (b, n, h, d)
        q, k = self._rotate(q), self._rotate(k)
        q = q * self.head_dim**-0.5  # before the product: float16 ends at 65504
        return accumulated_einsum("bihd,bjhd->bhij", q, k, self.compute_dtype)

    def _rotate(self, x):
        return x if self.rotary_base is None else self.rotary(x)

    def _spans(self, inputs, mask):
        """Returns the mask of spans, `(1|b, 1, n, n)`, or None for all."""
        spans = None
        if self.tril_mask:
            tokens = ops.arange(ops.shape(inputs)[1])
            ordered = ops.expand_dims(tokens, 1) <= ops.expand_dims(tokens, 0)
            spans = ops.expand_dims(ordered, (0, 1))  # (1, 1, n, n)
        if mask is not None:
            mask = check_mask("mask", mask)
            check_shape("mask", mask, inputs.shape[:2])
            both = ops.expand_dims(mask, 2) & ops.expand_dims(mask, 1)
            both = ops.expand_dims(both, 1)  # (b, 1, n, n)
            spans = both if spans is None else spans & both
        return spans

    def _check_inputs(self, shape):
        if len(shape) != 3 or shape[-1] is None:
            raise ValueError(
                "`inputs` must be `(batch, length, features)`, with a known "
                f"number of features. Received: inputs of shape {tuple(shape)}"
            )

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_shape(self, input_shape):
        batch, length = input_shape[:2]
        return batch, self.num_heads, length, length

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "rotary_base": self.rotary_base,
            "use_bias": self.use_bias,
            "tril_mask": self.tril_mask,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
