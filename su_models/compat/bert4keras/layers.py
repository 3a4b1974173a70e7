"""bert4keras' `layers`: its arguments and call forms over su_models.layers.

Names of `keras.layers` are available as well, as in bert4keras.
"""

import keras
from keras import ops

from su_models.compat.bert4keras.attention import (
    GatedAttentionUnit,
    MultiHeadAttention,
)
from su_models.compat.bert4keras.backend import sequence_masking
from su_models.layers.core.embedding import Embedding as OurEmbedding
from su_models.layers.core.feed_forward import FeedForward
from su_models.layers.merging.add import Add
from su_models.layers.normalization.layer_normalization import (
    LayerNormalization as OurLayerNormalization,
)
from su_models.layers.normalization.scale_offset import (
    ScaleOffset as OurScaleOffset,
)
from su_models.layers.position.position_embedding import (
    PositionEmbedding as OurPositionEmbedding,
)
from su_models.layers.position.relative_position_bias import (
    RelativePositionBias,
)
from su_models.layers.position.relative_position_embedding import (
    RelativePositionEmbedding as OurRelativePositionEmbedding,
)
from su_models.layers.position.sinusoidal_position_embedding import (
    SinusoidalPositionEmbedding as OurSinusoidalPositionEmbedding,
)
from su_models.layers.tagging.conditional_random_field import (
    ConditionalRandomField as OurConditionalRandomField,
)
from su_models.layers.tagging.efficient_global_pointer import (
    EfficientGlobalPointer as OurEfficientGlobalPointer,
)
from su_models.layers.tagging.global_pointer import (
    GlobalPointer as OurGlobalPointer,
)
from su_models.layers.tagging.maximum_entropy_markov_model import (
    MaximumEntropyMarkovModel as OurMaximumEntropyMarkovModel,
)

__all__ = [
    "Add",
    "Concatenate1D",
    "ConditionalRandomField",
    "EfficientGlobalPointer",
    "Embedding",
    "FeedForward",
    "GatedAttentionUnit",
    "GlobalMaxPooling1D",
    "GlobalPointer",
    "Layer",
    "LayerNormalization",
    "Loss",
    "MaximumEntropyMarkovModel",
    "MultiHeadAttention",
    "PositionEmbedding",
    "RelativePositionEmbedding",
    "RelativePositionEmbeddingT5",
    "ScaleOffset",
    "SinusoidalPositionEmbedding",
]
# `from ...layers import *` gives Keras' layers too
__all__ += [name for name in dir(keras.layers) if name[0].isupper()]

_register = keras.saving.register_keras_serializable("su_models.bert4keras")


def __getattr__(name):
    # only names that are not defined here
    if not name.startswith("_") and hasattr(keras.layers, name):
        return getattr(keras.layers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@_register
class Layer(keras.layers.Layer):
    """A layer that passes masks on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True


@_register
class Loss(Layer):
    """Adds a loss that is a function of several tensors, and returns some.

    Subclasses define `compute_loss(inputs, mask=None)`, which receives
    floating-point tensors, also of ids, as all inputs are in bert4keras, and
    returns a tensor, whose mean is added. `compile` then needs no loss.

    Args:
        output_axis: which of the inputs is returned: an int, a list of int,
            or None for all.

    Call arguments:
        inputs: a list of tensors, or one.

    Returns:
        One of the inputs, or a list.
    """

    def __init__(self, output_axis=None, **kwargs):
        super().__init__(**kwargs)
        self.output_axis = output_axis

    def call(self, inputs, mask=None):
        floats = keras.tree.map_structure(_as_floats, inputs)
        self.add_loss(ops.mean(self.compute_loss(floats, mask)))
        return self._chosen(inputs)

    def compute_loss(self, inputs, mask=None):
        """Returns the loss of the inputs, any tensor."""
        raise NotImplementedError(f"{type(self).__name__}.compute_loss")

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else self._chosen(mask)

    def compute_output_shape(self, input_shape):
        return self._chosen(input_shape)

    def compute_output_spec(self, inputs, mask=None):
        # `call` runs too, so that an error in `compute_loss` is found early
        return keras.Operation.compute_output_spec(self, inputs, mask=mask)

    def _chosen(self, x):
        if self.output_axis is None:
            return x
        if isinstance(self.output_axis, (list, tuple)):
            return [x[i] for i in self.output_axis]
        return x[self.output_axis]

    def get_config(self):
        return {**super().get_config(), "output_axis": self.output_axis}


def _as_floats(x):
    """Returns a tensor of ids or flags in Keras' floating-point dtype."""
    if keras.backend.is_float_dtype(x.dtype):
        return x
    return ops.cast(x, keras.config.floatx())


# ---- embeddings


@_register
class Embedding(OurEmbedding):
    """`su_models.layers.Embedding`, with `mode="dense"` for `reverse=True`."""

    def __call__(self, inputs, mode=None, reverse=False, **kwargs):
        reverse = reverse or mode == "dense"
        return super().__call__(inputs, reverse=reverse, **kwargs)


class _Positioned:
    """Mixin of layers whose inputs may be a list of features and positions."""

    def __init__(self, *args, custom_position_ids=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.custom_position_ids = custom_position_ids

    def __call__(self, inputs, positions=None, **kwargs):
        if isinstance(inputs, (list, tuple)):
            inputs, positions = inputs
        if positions is None:
            return super().__call__(inputs, **kwargs)
        if "int" not in keras.backend.standardize_dtype(positions.dtype):
            positions = ops.cast(positions, "int32")
        return super().__call__(inputs, positions=positions, **kwargs)

    def get_config(self):
        custom = self.custom_position_ids
        return {**super().get_config(), "custom_position_ids": custom}


@_register
class PositionEmbedding(_Positioned, OurPositionEmbedding):
    """`su_models.layers.PositionEmbedding`, as in bert4keras.

    Args:
        input_dim, output_dim, merge_mode, hierarchical,
            embeddings_initializer: see there; the initializer defaults to
            "zeros".
        custom_position_ids: bool. Whether the inputs are a list of features
            and positions.
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        merge_mode="add",
        hierarchical=None,
        embeddings_initializer="zeros",
        custom_position_ids=False,
        **kwargs,
    ):
        super().__init__(
            input_dim,
            output_dim,
            merge_mode,
            hierarchical,
            embeddings_initializer,
            custom_position_ids=custom_position_ids,
            **kwargs,
        )


@_register
class SinusoidalPositionEmbedding(_Positioned, OurSinusoidalPositionEmbedding):
    """`su_models.layers.SinusoidalPositionEmbedding`, as in bert4keras.

    Differs: positions are integers.

    Args:
        output_dim, merge_mode: see there.
        custom_position_ids: bool. Whether the inputs are a list of features
            and positions.
    """

    def __init__(
        self,
        output_dim,
        merge_mode="add",
        custom_position_ids=False,
        **kwargs,
    ):
        super().__init__(
            output_dim,
            merge_mode,
            custom_position_ids=custom_position_ids,
            **kwargs,
        )


class _OfQueryAndValue:
    """Mixin of layers whose inputs are a list of queries and values."""

    def __call__(self, inputs, value=None, **kwargs):
        if isinstance(inputs, (list, tuple)):
            inputs, value = inputs
        return super().__call__(inputs, value=value, **kwargs)

    def build(self, query_shape, value_shape=None):
        super().build(query_shape, value_shape)


@_register
class RelativePositionEmbedding(_OfQueryAndValue, OurRelativePositionEmbedding):
    """`su_models.layers.RelativePositionEmbedding`, as in bert4keras.

    Args:
        input_dim, output_dim, embeddings_initializer: see there; the
            initializer defaults to "zeros".

    Call arguments:
        inputs: a list of queries `(batch, n, ...)` and values `(batch, m,
            ...)`.

    Returns:
        Embeddings `(n, m, output_dim)`.
    """

    def __init__(
        self, input_dim, output_dim, embeddings_initializer="zeros", **kwargs
    ):
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            **kwargs,
        )

    def call(self, query, value=None):
        return super().call(query, value)[0]

    def compute_output_shape(self, query_shape, value_shape=None):
        return super().compute_output_shape(query_shape, value_shape)[1:]


@_register
class RelativePositionEmbeddingT5(_OfQueryAndValue, RelativePositionBias):
    """`su_models.layers.RelativePositionBias`, as in bert4keras.

    Args:
        input_dim: int > 0. Number of buckets.
        output_dim: int > 0. Number of heads.
        max_distance, bidirectional, embeddings_initializer: see there; the
            initializer defaults to "zeros".

    Call arguments:
        inputs: a list of queries `(batch, n, ...)` and values `(batch, m,
            ...)`.

    Returns:
        Biases `(n, m, output_dim)`.
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        max_distance=128,
        bidirectional=True,
        embeddings_initializer="zeros",
        **kwargs,
    ):
        super().__init__(
            output_dim,
            input_dim,
            max_distance,
            bidirectional,
            embeddings_initializer,
            **kwargs,
        )

    def call(self, query, value=None):
        bias = super().call(query, value)[0]  # (h, n, m)
        return ops.transpose(bias, (1, 2, 0))

    def compute_output_shape(self, query_shape, value_shape=None):
        _, h, n, m = super().compute_output_shape(query_shape, value_shape)
        return n, m, h

    def get_config(self):
        config = super().get_config()
        config["input_dim"] = config.pop("num_buckets")
        config["output_dim"] = config.pop("num_heads")
        return config


# ---- normalization


class _Conditional:
    """Mixin of layers whose inputs may be a list of features and condition."""

    def __call__(self, inputs, condition=None, **kwargs):
        if self.conditional and isinstance(inputs, (list, tuple)):
            inputs, condition = inputs
        if condition is not None:
            kwargs["condition"] = condition
        return super().__call__(inputs, **kwargs)


@_register
class ScaleOffset(_Conditional, OurScaleOffset):
    """`su_models.layers.ScaleOffset`, with a list of x and its condition."""


@_register
class LayerNormalization(_Conditional, OurLayerNormalization):
    """`su_models.layers.LayerNormalization`, as in bert4keras.

    Args:
        zero_mean, unit_variance: see there.
        epsilon: optional number > 0. Defaults to 1e-7.
        **kwargs: the other arguments, such as `conditional`.

    Call arguments:
        inputs: x; if `conditional`, a list of x and the condition.
    """

    def __init__(
        self, zero_mean=True, unit_variance=True, epsilon=None, **kwargs
    ):
        epsilon = epsilon or keras.config.epsilon()
        super().__init__(zero_mean, unit_variance, epsilon=epsilon, **kwargs)


# ---- sequences


@_register
class Concatenate1D(Layer):
    """Joins sequences along their length, with or without masks.

    Call arguments:
        inputs: list of `(batch, n_i, features)`.

    Returns:
        A tensor `(batch, Σ n_i, features)`.
    """

    def call(self, inputs):
        return ops.concatenate(inputs, axis=1)

    def compute_mask(self, inputs, mask=None):
        if mask is None or all(m is None for m in mask):
            return None
        masks = [
            ops.ones_like(x[..., 0], dtype="bool") if m is None else m
            for x, m in zip(inputs, mask, strict=True)
        ]
        return ops.concatenate(masks, axis=1)

    def compute_output_shape(self, input_shape):
        lengths = [shape[1] for shape in input_shape]
        length = None if None in lengths else sum(lengths)
        return (input_shape[0][0], length, *input_shape[0][2:])


@_register
class GlobalMaxPooling1D(Layer):
    """The maximum over the real steps, `(batch, features)`.

    Call arguments:
        inputs: `(batch, length, features)`.
        mask: optional booleans `(batch, length)`.
    """

    def call(self, inputs, mask=None):
        return ops.max(sequence_masking(inputs, mask, "-inf", 1), axis=1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[2]


# ---- labels


class _Multiplied:
    """Mixin of taggers, whose `lr_multiplier` is ours under another name."""

    def __init__(self, lr_multiplier=1, **kwargs):
        super().__init__(learning_rate_multiplier=lr_multiplier, **kwargs)

    @property
    def lr_multiplier(self):
        return self.learning_rate_multiplier

    def get_config(self):
        config = super().get_config()
        config["lr_multiplier"] = config.pop("learning_rate_multiplier")
        return config


@_register
class ConditionalRandomField(_Multiplied, OurConditionalRandomField):
    """`su_models.layers.ConditionalRandomField`, with `lr_multiplier`."""


@_register
class MaximumEntropyMarkovModel(_Multiplied, OurMaximumEntropyMarkovModel):
    """`su_models.layers.MaximumEntropyMarkovModel`, with `lr_multiplier`."""

    def __init__(self, lr_multiplier=1, hidden_dim=None, **kwargs):
        super().__init__(lr_multiplier, hidden_dim=hidden_dim, **kwargs)


class _Pointer:
    """Mixin of the pointers, with bert4keras' arguments."""

    def __init__(
        self,
        heads,
        head_size,
        RoPE=True,
        use_bias=True,
        tril_mask=True,
        kernel_initializer="lecun_normal",
        **kwargs,
    ):
        super().__init__(
            heads,
            head_size,
            10000.0 if RoPE else None,
            use_bias,
            tril_mask,
            kernel_initializer,
            **kwargs,
        )

    def get_config(self):
        config = super().get_config()
        config["heads"] = config.pop("num_heads")
        config["head_size"] = config.pop("head_dim")
        config["RoPE"] = config.pop("rotary_base") is not None
        return config


@_register
class GlobalPointer(_Pointer, OurGlobalPointer):
    """`su_models.layers.GlobalPointer`, with bert4keras' arguments.

    Differs: the score of a pair that is no span is -1e12, not -inf.

    Args:
        heads, head_size: `num_heads` and `head_dim` there.
        RoPE: bool. Whether queries and keys are rotated.
        use_bias, tril_mask, kernel_initializer: see there.
    """


@_register
class EfficientGlobalPointer(_Pointer, OurEfficientGlobalPointer):
    """`su_models.layers.EfficientGlobalPointer`, as `GlobalPointer` above."""
