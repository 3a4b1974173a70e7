"""A scale and an offset of each feature, without normalization."""

import keras
import numpy as np

from su_models.layers.normalization.layer_normalization import (
    LayerNormalization,
)
from su_models.utils.checks import check_number


@keras.saving.register_keras_serializable(package="su_models")
class ScaleOffset(LayerNormalization):
    """Multiplies by γ and adds β, learned, constant or conditional.

    Article: https://kexue.fm/archives/7124
        《基于Conditional Layer Normalization的条件文本生成》

        y = x γ + β

    These are the last two steps of `LayerNormalization`, with its condition:
    with `conditional=True` the layer takes a second input c, and γ + c W_γ
    and β + c W_β, with kernels that start at zero, replace γ and β. The bias
    of BERT's output is `ScaleOffset(scale=False)`, T5's output scale is
    `ScaleOffset(scale=dim**-0.5, offset=False)`.

    The layer computes in float32 under every policy. Masks pass through
    unchanged. The weights are in the order of bert4keras: β, γ, then the
    kernels of the hidden layer, of β and of γ.

    Args:
        scale: True for a learned γ, False for none, or a number.
        offset: True for a learned β, False for none, or a number.
        conditional: bool. Whether γ and β depend on a second input.
        hidden_units: optional int. Size of the hidden layer between c and
            W_γ, W_β.
        hidden_activation: activation of the hidden layer.
        hidden_initializer: initializer of the hidden layer's kernel.

    Call arguments:
        inputs: x, `(batch, ..., d)`.
        condition: c, `(batch, k)`, the same for all positions of x, or with
            as many axes as x. Required if `conditional`, and rejected
            otherwise.

    Returns:
        y, of the shape and dtype of `inputs`.

    Raises:
        ValueError: if `scale` or `offset` is neither a bool nor a finite
            number, a condition is missing or not expected, or d is unknown.

    Example:

    >>> layer = su_models.layers.ScaleOffset(scale=2.0, offset=-1.0)
    >>> print(keras.ops.convert_to_numpy(layer(keras.ops.array([[1.0, 3.0]]))))
    [[1. 5.]]
    """

    def __init__(
        self,
        scale=True,
        offset=True,
        conditional=False,
        hidden_units=None,
        hidden_activation="linear",
        hidden_initializer="glorot_uniform",
        **kwargs,
    ):
        constants = {}
        for name, value in (("gamma", scale), ("beta", offset)):
            if not isinstance(value, (bool, np.bool_)):
                argument = "scale" if name == "gamma" else "offset"
                constants[name] = check_number(argument, value)
        super().__init__(
            zero_mean=False,
            unit_variance=False,
            scale="gamma" in constants or bool(scale),
            offset="beta" in constants or bool(offset),
            conditional=conditional,
            hidden_units=hidden_units,
            hidden_activation=hidden_activation,
            hidden_initializer=hidden_initializer,
            **kwargs,
        )
        self._constants = constants

    def _weight(self, name, *args, **kwargs):
        if name in self._constants:
            return self._constants[name]
        return super()._weight(name, *args, **kwargs)

    def get_config(self):
        config = super().get_config()
        for name in ("zero_mean", "unit_variance", "epsilon"):
            del config[name]
        config["scale"] = self._constants.get("gamma", self.scale)
        config["offset"] = self._constants.get("beta", self.offset)
        return config
