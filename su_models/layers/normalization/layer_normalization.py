"""Layer normalization in all variants of the author's models."""

import keras
from keras import ops

from su_models.backend.match_axes import match_axes
from su_models.backend.precision import accumulated_mean, sum_dtype
from su_models.utils.checks import (
    check_flag,
    check_positive,
    check_size,
)


@keras.saving.register_keras_serializable(package="su_models")
class LayerNormalization(keras.layers.Layer):
    """Normalizes the last axis, optionally conditioned on a vector.

    Article: https://kexue.fm/archives/7124
        《基于Conditional Layer Normalization的条件文本生成》
    Paper: https://arxiv.org/abs/1607.06450

        y = (x - mean x) / √(var x + ε) · γ + β

    Each of the four steps can be left out: BERT has all, T5 neither mean
    nor β (`zero_mean=False, offset=False`: RMS), RoFormerV2 only the
    division. With `conditional=True` the layer takes a second input c, e.g.
    the embedding of a sentiment, and

        γ + c W_γ,   β + c W_β

    replace γ and β. W_γ and W_β are initialized with zeros, so that
    fine-tuning begins with the unchanged pretrained model. `hidden_units`
    first maps a large c to fewer features.

    The layer computes in float32 under every policy. Masks pass through
    unchanged. The weights are in the order of bert4keras: β, γ, then the
    kernels of the hidden layer, of β and of γ.

    Args:
        zero_mean: bool. Whether to subtract the mean.
        unit_variance: bool. Whether to divide by the root mean square, after
            the mean is subtracted if `zero_mean`.
        scale: bool. Whether to multiply by γ.
        offset: bool. Whether to add β.
        epsilon: number > 0. ε.
        conditional: bool. Whether γ and β depend on a second input.
        hidden_units: optional int. Size of the hidden layer between c and
            W_γ, W_β.
        hidden_activation: activation of the hidden layer.
        hidden_initializer: initializer of the hidden layer's kernel.

    Call arguments:
        inputs: x, `(batch, ..., d)`.
        condition: c, `(batch, k)`, the same for all positions of x, or with
            as many axes as x, where those after the batch may have size 1.
            Required if `conditional`, and rejected otherwise.

    Returns:
        y, of the shape and dtype of `inputs`.

    Raises:
        ValueError: if an argument is invalid, a condition is missing, not
            expected or of another batch size, or d is unknown.

    Example:

    >>> norm = su_models.layers.LayerNormalization()
    >>> y = norm(keras.ops.array([[1.0, 3.0], [5.0, 1.0]]))
    >>> print(keras.ops.convert_to_numpy(y).round(3))
    [[-1.  1.]
     [ 1. -1.]]
    """

    def __init__(
        self,
        zero_mean=True,
        unit_variance=True,
        scale=True,
        offset=True,
        epsilon=1e-7,
        conditional=False,
        hidden_units=None,
        hidden_activation="linear",
        hidden_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.zero_mean = check_flag("zero_mean", zero_mean)
        self.unit_variance = check_flag("unit_variance", unit_variance)
        self.scale = check_flag("scale", scale)
        self.offset = check_flag("offset", offset)
        self.epsilon = check_positive("epsilon", epsilon)
        self.conditional = check_flag("conditional", conditional)
        self.hidden_units = check_size(
            "hidden_units", hidden_units, optional=True
        )
        if conditional and not (scale or offset):
            raise ValueError(
                "A condition acts on scale or offset. Received: "
                f"conditional={conditional}, scale={scale}, offset={offset}"
            )
        if hidden_units is not None and not conditional:
            raise ValueError(
                "`hidden_units` needs conditional=True. Received: "
                f"hidden_units={hidden_units}, conditional={conditional}"
            )
        self.hidden_activation = keras.activations.get(hidden_activation)
        self.hidden_initializer = keras.initializers.get(hidden_initializer)
        self.supports_masking = True

    def build(self, inputs_shape, condition_shape=None):
        self._check_shapes(inputs_shape, condition_shape)
        d = inputs_shape[-1]
        self.beta = self._weight("beta", (d,), "zeros", self.offset)
        self.gamma = self._weight("gamma", (d,), "ones", self.scale)
        k = condition_shape[-1] if self.conditional else None
        if self.hidden_units is not None:
            shape, k = (k, self.hidden_units), self.hidden_units
            initializer = self.hidden_initializer
            self.hidden_kernel = self._weight(
                "hidden_kernel", shape, initializer, True
            )
        self.beta_kernel = self._weight(
            "beta_kernel", (k, d), "zeros", self.offset and self.conditional
        )
        self.gamma_kernel = self._weight(
            "gamma_kernel", (k, d), "zeros", self.scale and self.conditional
        )
        self.built = True

    def call(self, inputs, condition=None):
        self._check_condition(condition)
        if self.conditional:
            self._check_shapes(inputs.shape, condition.shape)
            condition = match_axes("condition", condition, inputs)
        wide = sum_dtype(inputs.dtype)
        x = ops.cast(inputs, wide)
        if self.zero_mean:
            x = x - accumulated_mean(x, axis=-1, keepdims=True)
        if self.unit_variance:
            variance = accumulated_mean(ops.square(x), axis=-1, keepdims=True)
            x = x * ops.rsqrt(variance + self.epsilon)
        c = None
        if self.conditional:
            c = self._hidden(ops.cast(condition, wide), len(x.shape))
        if self.scale:
            x = x * _moved(self.gamma, c, self.gamma_kernel, wide)
        if self.offset:
            x = x + _moved(self.beta, c, self.beta_kernel, wide)
        return ops.cast(x, self.compute_dtype)

    def _hidden(self, c, rank):
        """Returns c after the hidden layer, with an axis for each axis of x."""
        if self.hidden_units is not None:
            kernel = ops.cast(self.hidden_kernel, c.dtype)
            c = self.hidden_activation(ops.matmul(c, kernel))
        while len(c.shape) < rank:
            c = ops.expand_dims(c, axis=1)  # (b, 1, ..., k)
        return c

    def _weight(self, name, shape, initializer, wanted):
        if not wanted:
            return None
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, autocast=False
        )

    def _check_condition(self, condition):
        if self.conditional == (condition is None):
            expected = "needs a" if self.conditional else "takes no"
            raise ValueError(
                f"The layer {expected} `condition`. Received: "
                f"conditional={self.conditional}, condition={condition!r}"
            )

    def _check_shapes(self, inputs_shape, condition_shape):
        self._check_condition(condition_shape)
        if len(inputs_shape) < 2 or inputs_shape[-1] is None:
            raise ValueError(
                "The inputs must be (batch, ..., d) with a known d. "
                f"Received: inputs_shape={inputs_shape}"
            )
        if condition_shape is None:
            return
        # (b, k), or as many axes as x, where sizes after the batch may be 1
        rank = len(condition_shape)
        known = condition_shape[-1] is not None
        fits = (
            known
            and rank in (2, len(inputs_shape))
            and all(
                a == b or None in (a, b) or (b == 1 and i)
                for i, (a, b) in enumerate(
                    zip(inputs_shape[:-1], condition_shape[:-1], strict=False)
                )
            )
        )
        if not fits:
            raise ValueError(
                "`condition` must be (batch, k), or (batch, ..., k) as the "
                f"inputs {tuple(inputs_shape)}. Received: condition of shape "
                f"{tuple(condition_shape)}"
            )

    def compute_output_shape(self, inputs_shape, condition_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "zero_mean": self.zero_mean,
            "unit_variance": self.unit_variance,
            "scale": self.scale,
            "offset": self.offset,
            "epsilon": self.epsilon,
            "conditional": self.conditional,
            "hidden_units": self.hidden_units,
            "hidden_activation": keras.activations.serialize(
                self.hidden_activation
            ),
            "hidden_initializer": keras.initializers.serialize(
                self.hidden_initializer
            ),
        }


def _moved(weight, c, kernel, dtype):
    """Returns γ + c W_γ, or γ without a condition; likewise for β."""
    weight = ops.cast(weight, dtype)
    if c is None:
        return weight
    return weight + ops.matmul(c, ops.cast(kernel, dtype))
