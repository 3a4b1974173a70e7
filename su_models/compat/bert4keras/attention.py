"""Attention layers with bert4keras' arguments: lists of inputs, biases."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.compat.bert4keras.backend import (
    apply_rotary_position_embeddings,
)
from su_models.layers.attention.gated_attention_unit import (
    GatedAttentionUnit as Unit,
)
from su_models.layers.attention.masks import (
    AttentionMasks,
    split_attention_mask,
)
from su_models.layers.attention.relative_multi_head_attention import (
    RelativeMultiHeadAttention,
)
from su_models.layers.position.sinusoids import sinusoids
from su_models.utils.checks import check_choice, check_flag

_POSITIONS = (None, "rotary", "typical_relative", "t5_relative")


@keras.saving.register_keras_serializable(package="su_models.bert4keras")
class MultiHeadAttention(RelativeMultiHeadAttention):
    """`su_models.layers.RelativeMultiHeadAttention`, as in bert4keras.

    Differs: there is no method `pay_attention_to`; subclasses override
    `_scores`, `_context` or `_attend` of `BaseMultiHeadAttention`. Outputs of
    masked queries are not changed.

    Args:
        heads: int > 0. Number of heads.
        head_size: int > 0. Size of a head of the values.
        out_dim: int > 0. Size of the output. Defaults to `heads * head_size`.
        key_size: int > 0. Size of a head of queries and keys. Defaults to
            `head_size`.
        use_bias, normalization, attention_scale, kernel_initializer: see
            `su_models.layers.MultiHeadAttention`.
        attention_dropout: optional float in [0, 1).
        return_attention_scores: bool. Whether to return the scores before
            the masks and the softmax as well.

    Call arguments:
        inputs: a list of query, key and value, then the bias if `a_bias`,
            then the positions if `p_bias`.
        a_bias: True if the list has a bias: booleans `(1|batch, n, m)`, where
            True means "attend"; or numbers of this shape, or with an axis of
            heads, which are added to the scores.
        p_bias: None; "rotary", with sinusoids `(1|batch, n, key_size)` or
            positions; "typical_relative", with embeddings `(n, m,
            head_size)`; or "t5_relative", with biases `(n, m, heads)`. The
            results of `compute_position_bias` are accepted too.

    Returns:
        A tensor `(batch, n, out_dim)`; or a pair of it and the scores,
        `(batch, heads, n, m)`.

    Raises:
        ValueError: if the inputs do not fit.
    """

    def __init__(
        self,
        heads,
        head_size,
        out_dim=None,
        key_size=None,
        use_bias=True,
        normalization="softmax",
        attention_scale=True,
        attention_dropout=None,
        return_attention_scores=False,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(
            num_heads=heads,
            head_dim=head_size,
            output_dim=out_dim or heads * head_size,
            key_dim=key_size or head_size,
            use_bias=use_bias,
            normalization=normalization,
            attention_scale=attention_scale,
            dropout=attention_dropout or 0.0,
            kernel_initializer=kernel_initializer,
            **kwargs,
        )
        self.return_attention_scores = check_flag(
            "return_attention_scores", return_attention_scores
        )

    def __call__(self, inputs, *args, a_bias=None, p_bias=None, **kwargs):
        check_choice("p_bias", p_bias, _POSITIONS)
        if not isinstance(inputs, (list, tuple)):  # replayed by a model
            return super().__call__(inputs, *args, p_bias=p_bias, **kwargs)
        query, key, value, *others = inputs
        if key is not query or value is not query:
            kwargs |= {"value": value, "key": key}
        others = _bias_and_positions(others, a_bias, p_bias)
        return super().__call__(query, p_bias=p_bias, **others, **kwargs)

    def call(
        self,
        query,
        value=None,
        key=None,
        bias=None,
        position_bias=None,
        p_bias=None,
        training=None,
        mask=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
    ):
        attention_mask, added = _split_bias(bias)
        options = {"attention_bias": added}
        if p_bias == "t5_relative":
            options["attention_bias"] = self._t5_bias(position_bias, added)
        elif p_bias == "typical_relative":
            options["relative_embeddings"] = _with_batch(position_bias, 4)
        elif p_bias == "rotary":
            options["angles"] = self._angles(position_bias)
        return self._call(
            (query, value, key),
            (mask, query_mask, value_mask, key_mask),
            attention_mask,
            False,
            None,
            training=training,
            **options,
        )

    def _t5_bias(self, bias, added):
        """Returns `(1|batch, heads, n, m)`, scaled as the scores."""
        if len(bias.shape) == 3:  # (n, m, h), else (1, h, n, m)
            bias = ops.expand_dims(ops.transpose(bias, (2, 0, 1)), 0)
        if self.attention_scale:
            bias = bias * self.key_dim**-0.5
        return bias if added is None else bias + added

    def _angles(self, positions):
        """Returns sinusoids `(1|batch, n, key_dim)`."""
        return _sinusoids(positions, self.key_dim, self.compute_dtype)

    def _attend(self, q, k, v, masks, training=None, angles=None, **options):
        if angles is not None:
            q, k = apply_rotary_position_embeddings(angles, q, k)
        if not self.return_attention_scores:
            return super()._attend(q, k, v, masks, training, **options)
        pairs = {name: x for name, x in options.items() if x is not None}
        scores = self._scores(self._scaled(q), k, **pairs)  # (b, h, n, m)
        context, _ = self._weigh(scores, v, masks, training, **pairs)
        return self._merge(context), ops.cast(scores, self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        for ours, theirs in _NAMES.items():
            config[theirs] = config.pop(ours)
        for name in ("rotary_base", "num_key_value_heads"):
            del config[name]
        config["return_attention_scores"] = self.return_attention_scores
        return config


_NAMES = {
    "num_heads": "heads",
    "head_dim": "head_size",
    "output_dim": "out_dim",
    "key_dim": "key_size",
    "dropout": "attention_dropout",
}


@keras.saving.register_keras_serializable(package="su_models.bert4keras")
class GatedAttentionUnit(Unit):
    """`su_models.layers.GatedAttentionUnit`, as in bert4keras.

    Args:
        units: int > 0. Size of the gate and of the values.
        key_size: int > 0. Size of queries and keys.
        activation, use_bias, normalization, kernel_initializer: see
            `su_models.layers.GatedAttentionUnit`.
        self_attention: True; the unit has no other form here.
        attention_scale: True; the scores are always divided by `√key_size`.
        attention_dropout: optional float in [0, 1).

    Call arguments:
        inputs: x, `(batch, n, d)`; or a list of x, the mask if `a_bias`, and
            the positions if `p_bias`.
        a_bias: True if the list has a mask, booleans `(1|batch, n, n)`.
        p_bias: None, or "rotary", with sinusoids `(1|batch, n, key_size)` or
            positions.

    Returns:
        A tensor `(batch, n, d)`.

    Raises:
        ValueError: if an argument or the inputs do not fit.
    """

    def __init__(
        self,
        units,
        key_size,
        activation="swish",
        use_bias=True,
        normalization="squared_relu",
        self_attention=True,
        attention_scale=True,
        attention_dropout=None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        check_choice("self_attention", self_attention, (True,))
        check_choice("attention_scale", attention_scale, (True,))
        super().__init__(
            units,
            key_size,
            activation=activation,
            use_bias=use_bias,
            normalization=normalization,
            dropout=attention_dropout or 0.0,
            kernel_initializer=kernel_initializer,
            **kwargs,
        )

    def __call__(self, inputs, *args, a_bias=None, p_bias=None, **kwargs):
        check_choice("p_bias", p_bias, _POSITIONS[:2])
        if not isinstance(inputs, (list, tuple)):
            return super().__call__(inputs, *args, **kwargs)
        inputs, *others = inputs
        others = _bias_and_positions(others, a_bias, p_bias)
        return super().__call__(inputs, **others, **kwargs)

    def call(
        self,
        inputs,
        bias=None,
        position_bias=None,
        training=None,
        mask=None,
        inputs_mask=None,
    ):
        attention_mask, added = _split_bias(bias)
        if added is not None:
            raise ValueError(
                "The bias of a gated attention unit must be a mask, of "
                f"booleans. Received: a bias of {bias.dtype}"
            )
        keys, pairs = split_attention_mask(
            inputs.shape,
            inputs.shape,
            attention_mask,
            {"mask": mask, "inputs_mask": inputs_mask},
        )
        (q, u), k, v = self._project(inputs, None)
        if position_bias is not None:
            angles = _sinusoids(position_bias, self.key_dim, self.compute_dtype)
            q, k = apply_rotary_position_embeddings(angles, q, k)
        return self._attend(
            (q, u), k, v, AttentionMasks(keys, pairs, False), training=training
        )

    def get_config(self):
        config = super().get_config()
        config["key_size"] = config.pop("key_dim")
        config["attention_dropout"] = config.pop("dropout")
        del config["rotary_base"]
        return config


def _bias_and_positions(others, a_bias, p_bias):
    """Returns the tensors behind the inputs as keyword arguments."""
    wanted = (["bias"] if a_bias else []) + (
        [] if p_bias is None else ["position_bias"]
    )
    if len(others) != len(wanted):
        raise ValueError(
            "The list of inputs must have one tensor for each of `a_bias` and "
            f"`p_bias`. Received: {len(others)} more tensors, "
            f"a_bias={a_bias}, p_bias={p_bias!r}"
        )
    return dict(zip(wanted, others, strict=True))


def _split_bias(bias):
    """Returns a mask of pairs and numbers to add, of which one is None."""
    if bias is None:
        return None, None
    if keras.backend.standardize_dtype(bias.dtype) == "bool":
        return (bias[:, 0] if len(bias.shape) == 4 else bias), None
    return None, (ops.expand_dims(bias, 1) if len(bias.shape) == 3 else bias)


def _with_batch(x, rank):
    """Returns x with an axis for the batch in front, if it has none."""
    return x if len(x.shape) == rank else ops.expand_dims(x, 0)


def _sinusoids(positions, dim, dtype):
    """Returns sinusoids `(1|batch, n, dim)`, of themselves or of positions."""
    if len(positions.shape) < 3:
        positions = sinusoids(positions, dim, dtype=sum_dtype(dtype))
    return _with_batch(positions, 3)
