"""Gated attention unit."""

import keras
from keras import ops

from su_models.layers.attention.base import BaseAttention
from su_models.layers.attention.masks import (
    AttentionMasks,
    joined_mask,
    split_attention_mask,
)
from su_models.layers.attention.scores import (
    attention_context,
    attention_scores,
)
from su_models.layers.attention.weights import NORMALIZATIONS, attention_weights
from su_models.utils.checks import (
    check_activation,
    check_choice,
    check_flag,
    check_initializer,
    check_shape,
    check_size,
)
from su_models.utils.initializers import fresh_initializer


@keras.saving.register_keras_serializable(package="su_models")
class GatedAttentionUnit(BaseAttention):
    """Attention and feed-forward network in one layer, of one head (GAU).

    Article: https://kexue.fm/archives/8934
        《FLASH：可能是近来最有意思的高效Transformer设计》
    Article: https://kexue.fm/archives/9019
        《听说Attention与Softmax更配哦～》
    Paper: https://arxiv.org/abs/2202.10447

        O = (U ⊙ A V) W_o                                     Eq. (3) of 8934
        A = relu²(Q(Z) K(Z)ᵀ / √s) / n                        Eq. (4)
        U = φ(X W_u),  V = φ(X W_v),  Z = φ(X W_z)

    Q and K scale and shift each of the s features of Z. n is the number of
    tokens that a query may attend to. Two of these layers with `units` = 2d
    have about as many weights as one block of attention and feed-forward
    network. The author later found that softmax generalizes better to other
    lengths than relu², and best when the scores grow with the length (9019):
    `normalization="softmax_plus"`.

    Differs: uses the author's scale 1/(ns), not the 1/n² of the paper's code.

    Masks work as in `MultiHeadAttention`. A query that may attend to no token
    has A V = 0, so its output is the output bias. The variables are the scale
    and shift of Q, those of K, the kernel and bias of (U, V, Z), and those of
    O. The method `step` decodes token by token, with a cache of K and V.

    Args:
        units: int > 0. Size e of U and V.
        key_dim: int > 0. Size s of queries and keys.
        activation: φ.
        use_bias: bool. Whether the projections have biases, and Q and K have
            shifts.
        rotary_base: float > 0. Rotates queries and keys (`RotaryEmbedding`);
            `key_dim` must then be even. None: no rotation.
        normalization: "squared_relu", "softmax" or "softmax_plus"; see
            `su_models.layers.attention.weights`.
        dropout: float in [0, 1). Share of the weights zeroed in training.
        kernel_initializer: of the projections.
        seed: int. Seed of the dropout.

    Call arguments:
        inputs: `(batch, length, d)`.
        attention_mask: booleans, `(batch, length)` or `(batch, length,
            length)`.
        use_causal_mask: bool. Whether token i attends to tokens up to i.
        mask: booleans `(batch, length)`; Keras passes the mask that an
            upstream layer attached.
        positions: integers, `(length,)` or `(batch, length)`, for the
            rotation.
        return_attention_scores: bool. Whether to return A as well.

    Returns:
        A tensor like `inputs`; or a pair of it and A, `(batch, length,
        length)`.

    Raises:
        ValueError: if an argument has a wrong shape, or `rotary_base` is set
            and `key_dim` is odd.

    Example:

    >>> unit = su_models.layers.GatedAttentionUnit(128, key_dim=32)
    >>> tuple(unit(keras.random.normal((2, 7, 64))).shape)
    (2, 7, 64)
    """

    def __init__(
        self,
        units,
        key_dim=128,
        activation="swish",
        use_bias=True,
        rotary_base=None,
        normalization="squared_relu",
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        seed=None,
        **kwargs,
    ):
        key_dim = check_size("key_dim", key_dim)
        super().__init__(key_dim, rotary_base, dropout, seed, **kwargs)
        self.units = check_size("units", units)
        self.key_dim = key_dim
        self.activation = check_activation("activation", activation)
        self.use_bias = check_flag("use_bias", use_bias)
        self.normalization = check_choice(
            "normalization", normalization, NORMALIZATIONS
        )
        self.kernel_initializer = check_initializer(
            "kernel_initializer", kernel_initializer
        )

    def build(self, input_shape):
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must be `(batch, length, features)`, with a known "
                f"number of features. Received: inputs of shape {input_shape}"
            )
        e, s = self.units, self.key_dim
        self.input_dense = self._dense("uvz", 2 * e + s, self.activation)
        self.input_dense.build(input_shape)
        self.output_dense = self._dense("output", input_shape[-1])
        self.output_dense.build((*input_shape[:2], e))
        self.scales, self.shifts = [], []
        for name in ("query", "key"):
            scale = self.add_weight(
                shape=(s,), initializer="ones", name=f"{name}_scale"
            )
            self.scales.append(scale)
            if self.use_bias:
                shift = self.add_weight(
                    shape=(s,), initializer="zeros", name=f"{name}_shift"
                )
                self.shifts.append(shift)
        self.built = True

    def _dense(self, name, units, activation=None):
        return keras.layers.Dense(
            units,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(
        self,
        inputs,
        attention_mask=None,
        use_causal_mask=False,
        training=None,
        mask=None,
        inputs_mask=None,
        positions=None,
        return_attention_scores=False,
    ):
        use_causal_mask = check_flag("use_causal_mask", use_causal_mask)
        keys, pairs = split_attention_mask(
            inputs.shape,
            inputs.shape,
            attention_mask,
            {"mask": mask, "inputs_mask": inputs_mask},
        )
        return self._attend(
            *self._project(inputs, positions),
            AttentionMasks(keys, pairs, use_causal_mask),
            training=training,
            return_attention_scores=return_attention_scores,
        )

    def _project(self, inputs, positions):
        """Returns (Q, U), K and V; Q, K and V have one head, `(b, n, 1, .)`."""
        features = self.input_dense.kernel.shape[0]
        check_shape("inputs", inputs, (None, None, features))
        inputs = ops.cast(inputs, self.compute_dtype)  # may be integers
        u, v, z = ops.split(
            self.input_dense(inputs), (self.units, 2 * self.units), axis=-1
        )  # (b, n, e), (b, n, e), (b, n, s)
        made = [z * ops.cast(scale, z.dtype) for scale in self.scales]
        if self.use_bias:
            made = [
                x + ops.cast(shift, z.dtype)
                for x, shift in zip(made, self.shifts, strict=True)
            ]
        q, k = (self._rotate(ops.expand_dims(x, 2), positions) for x in made)
        return (q, u), k, ops.expand_dims(v, 2)

    def _attend(
        self, q, k, v, masks, training=None, return_attention_scores=False
    ):
        check_flag("return_attention_scores", return_attention_scores)
        q, u = q
        scores = attention_scores(q * self.key_dim**-0.5, k)  # (b, 1, n, m)
        mask = joined_mask(masks, *ops.shape(scores)[2:])
        if mask is not None:
            mask = ops.expand_dims(mask, 1)  # (1|b, 1, 1|n, m)
        a = attention_weights(scores, mask, self.normalization)
        a = ops.cast(a, self.compute_dtype)
        context = attention_context(self._drop(a, training), v)  # (b, n, 1, e)
        context = ops.cast(context[:, :, 0], self.compute_dtype)  # (b, n, e)
        outputs = self.output_dense(u * context)
        return (outputs, a[:, 0]) if return_attention_scores else outputs

    def _queries(self, inputs, positions):
        raise ValueError(
            "`index` must be given: the unit attends only to its own inputs. "
            "Received: index=None"
        )

    def _cache_sizes(self):
        return 1, self.key_dim, self.units

    def compute_output_spec(self, *args, **kwargs):
        # Keras traces `call`, since the result depends on more than shapes
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "key_dim": self.key_dim,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "normalization": self.normalization,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
