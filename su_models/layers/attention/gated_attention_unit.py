"""Gated attention unit."""

import keras
from keras import ops

from su_models.layers.attention.masks import (
    both_masks,
    join_attention_mask,
    split_attention_mask,
)
from su_models.layers.attention.weights import NORMALIZATIONS, attention_weights
from su_models.layers.position.rotary_embedding import RotaryEmbedding
from su_models.ops.attention_mask import causal_mask, prefix_mask
from su_models.utils.checks import check_shape, check_share, check_size


@keras.saving.register_keras_serializable(package="su_models")
class GatedAttentionUnit(keras.layers.Layer):
    """Attention and feed-forward network in one layer, of one head (GAU).

    Article: https://kexue.fm/archives/8934
        《FLASH：可能是近来最有意思的高效Transformer设计》
    Article: https://kexue.fm/archives/9019
        《听说Attention与Softmax更配哦～》
    Paper: https://arxiv.org/abs/2202.10447

        O = (U ⊙ A V) W_o                                     Eq. (3) of 8934
        A = relu²(Q(Z) K(Z)ᵀ / √s) / n                        Eq. (4)
        U = φ(X W_u),  V = φ(X W_v),  Z = φ(X W_z)

    Q and K scale and shift each of the s features of Z. Two of these layers
    with `units` = 2d have about the weights of one block of attention and
    feed-forward network. n is the number of tokens that a query may attend
    to. The author later found that softmax generalizes better to other
    lengths than relu², best with scores that grow with the length (9019):
    that is `normalization="softmax_plus"`.

    Differs: the author's scale 1/(ns), not the 1/n² of the paper's code.

    Masks are those of `MultiHeadAttention`. A query that may attend to
    nothing has A V = 0, so its output is the output bias. Variables: scale
    and shift of Q, of K, then kernel and bias of (U, V, Z), of O.

    Args:
        units: int > 0. Size e of U and V.
        key_dim: int > 0. Size s of queries and keys.
        activation: φ.
        use_bias: whether the projections have biases, and Q and K shifts.
        rotary_base: float > 0. Rotates queries and keys (`RotaryEmbedding`);
            `key_dim` is even then. None: no rotation.
        normalization: "squared_relu", "softmax" or "softmax_plus"; see
            `su_models.layers.attention.weights`.
        dropout: float in [0, 1). Share of the weights zeroed in training.
        kernel_initializer: of the projections.
        seed: int. Seed of the dropout.

    Call arguments:
        inputs: `(batch, length, d)`.
        mask: booleans `(batch, length)`, usually taken from upstream.
        attention_mask: booleans, `(batch, length)` or `(batch, length,
            length)`.
        segment_ids: integers `(batch, length)`: 0 for a prefix that is seen
            whole, 1 for what is generated after it.
        positions: integers, `(length,)` or `(batch, length)`, to be rotated.
        use_causal_mask: whether token i attends to tokens up to i.
        return_attention_scores: whether to return A as well.

    Returns:
        A tensor like `inputs`; or a pair of it and A, `(batch, length,
        length)`.

    Raises:
        ValueError: if an argument has a wrong shape, or an odd `key_dim` is
            to be rotated.

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
        super().__init__(**kwargs)
        self.units = check_size("units", units)
        self.key_dim = check_size("key_dim", key_dim)
        self.dropout = check_share("dropout", dropout)
        if rotary_base is not None and self.key_dim % 2:
            raise ValueError(
                "`key_dim` must be even to be rotated. "
                f"Received: key_dim={key_dim}, rotary_base={rotary_base}"
            )
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {NORMALIZATIONS}. "
                f"Received: normalization={normalization!r}"
            )
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.rotary_base = rotary_base
        self.normalization = normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.supports_masking = True
        if self.dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)
        if rotary_base is not None:
            self.rotary = RotaryEmbedding(
                rotary_base, dtype=self.dtype_policy, name="rotary"
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
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(
        self,
        inputs,
        mask=None,
        inputs_mask=None,
        attention_mask=None,
        segment_ids=None,
        positions=None,
        use_causal_mask=False,
        return_attention_scores=False,
        training=None,
    ):
        features = self.input_dense.kernel.shape[0]
        check_shape("inputs", inputs, (None, None, features))
        u, v, z = ops.split(
            self.input_dense(inputs), (self.units, 2 * self.units), axis=-1
        )  # (b, n, e), (b, n, e), (b, n, s)
        q, k = self._queries_and_keys(z, positions)
        key_mask, pair_mask = split_attention_mask(
            inputs.shape,
            inputs.shape,
            attention_mask,
            {"mask": mask, "inputs_mask": inputs_mask},
        )
        if segment_ids is not None:
            check_shape("segment_ids", segment_ids, inputs.shape[:2])
            pair_mask = both_masks(pair_mask, prefix_mask(segment_ids))
        if use_causal_mask:
            n = ops.shape(inputs)[1]
            pair_mask = both_masks(pair_mask, causal_mask(n, n))
        mask = join_attention_mask(key_mask, pair_mask)
        scores = ops.einsum("bns,bms->bnm", q * self.key_dim**-0.5, k)
        a = attention_weights(scores, mask, self.normalization)
        a = ops.cast(a, self.compute_dtype)
        outputs = self.output_dense(
            u * ops.matmul(self._drop(a, training), v)  # (b, n, e)
        )
        return (outputs, a) if return_attention_scores else outputs

    def _queries_and_keys(self, z, positions):
        """Returns Q(Z) and K(Z), rotated if they are to be."""
        if positions is not None and self.rotary_base is None:
            raise ValueError(
                "`positions` are rotated, so they need a `rotary_base`. "
                f"Received: positions={positions}, rotary_base=None"
            )
        made = [z * scale for scale in self.scales]
        if self.use_bias:
            made = [x + b for x, b in zip(made, self.shifts, strict=True)]
        if self.rotary_base is not None:
            made = [self.rotary(x, positions=positions) for x in made]
        return made

    def _drop(self, weights, training):
        if not (training and self.dropout):
            return weights
        return keras.random.dropout(
            weights, self.dropout, seed=self.seed_generator
        )

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "key_dim": self.key_dim,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "rotary_base": self.rotary_base,
            "normalization": self.normalization,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }
