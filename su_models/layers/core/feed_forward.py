"""The feed-forward layer of a Transformer, optionally gated."""

import keras

from su_models.utils.checks import (
    check_activation,
    check_flag,
    check_initializer,
    check_size,
)
from su_models.utils.initializers import fresh_initializer


@keras.saving.register_keras_serializable(package="su_models")
class FeedForward(keras.layers.Layer):
    """Two dense layers, or a gated linear unit and a dense layer.

    Article: https://kexue.fm/archives/7867#T5.1.1
        《那个屠榜的T5模型，现在可以在中文上玩玩了》
    Paper: https://arxiv.org/abs/2002.05202

    With one activation φ, and with a list of them:

        FFN(x) = φ(x W_1) W_2                                     Eq. (1)
        FFN(x) = (φ_1(x W_1) ⊗ φ_2(x W_2) ⊗ ...) W_o              Eq. (2)

    `["gelu", "linear"]` is the GEGLU of T5.1.1, `["swish", "linear"]` the
    SwiGLU of LLaMA. With `use_bias` each kernel has a bias; the article's
    formulas have none.

    Masks pass through unchanged. The variables are the kernels and biases of
    the activations in their order, then those of the output.

    Args:
        units: int > 0. Size of the hidden layer.
        activation: an activation, or a list of them, whose outputs are
            multiplied.
        use_bias: bool. Whether there are biases.
        kernel_initializer: initializer of all kernels.
        output_dim: int > 0. Size of the output. Defaults to that of the
            inputs.

    Call arguments:
        inputs: x, `(batch, ..., features)`.

    Returns:
        A tensor `(batch, ..., output_dim)`.

    Raises:
        ValueError: if a size is not a positive integer, the list of
            activations is empty, or the number of features is unknown.

    Example:

    >>> geglu = su_models.layers.FeedForward(128, ["gelu", "linear"])
    >>> tuple(geglu(keras.ops.ones((2, 7, 32))).shape)
    (2, 7, 32)
    """

    def __init__(
        self,
        units,
        activation="relu",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        output_dim=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = check_size("units", units)
        self.use_bias = check_flag("use_bias", use_bias)
        self.output_dim = check_size("output_dim", output_dim, optional=True)
        if isinstance(activation, (list, tuple)):
            if not activation:
                raise ValueError(
                    "`activation` must be an activation or a list of at least "
                    f"one. Received: activation={activation!r}"
                )
            self.activation = [
                check_activation("activation", a) for a in activation
            ]
        else:
            self.activation = check_activation("activation", activation)
        self.kernel_initializer = check_initializer(
            "kernel_initializer", kernel_initializer
        )
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "The inputs must be `(batch, ..., features)`, with a known "
                f"number of features. Received: input_shape={input_shape}"
            )
        activations = self.activation
        if not isinstance(activations, list):
            activations = [activations]
        self.hidden_denses = [
            self._dense(f"hidden_{i}", self.units, activation)
            for i, activation in enumerate(activations)
        ]
        output_dim = self.output_dim or input_shape[-1]
        self.output_dense = self._dense("output", output_dim)
        for dense in self.hidden_denses:
            dense.build(input_shape)
        self.output_dense.build((*input_shape[:-1], self.units))
        self.built = True

    def _dense(self, name, units, activation=None):
        return keras.layers.Dense(
            units,
            activation,
            self.use_bias,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs):
        first, *others = self.hidden_denses
        x = first(inputs)  # (b, ..., units)
        for dense in others:
            x = x * dense(inputs)
        return self.output_dense(x)  # (b, ..., output_dim)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self):
        serialize = keras.activations.serialize
        if isinstance(self.activation, list):
            activation = [serialize(a) for a in self.activation]
        else:
            activation = serialize(self.activation)
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activation,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "output_dim": self.output_dim,
        }
