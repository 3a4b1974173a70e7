"""Activations by the names in configurations of checkpoints."""

import keras

from su_models.utils.nearest import nearest


@keras.saving.register_keras_serializable(package="su_models")
def gelu_tanh(x):
    """Returns the tanh approximation of GELU, as in GPT-2.

    Paper: https://arxiv.org/abs/1606.08415

    Args:
        x: floats of any shape.
    """
    return keras.activations.gelu(x, approximate=True)


# `gelu` is the exact GELU, as in bert4keras
_OURS = {
    "gelu_tanh": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_erf": keras.activations.gelu,
    "swish": keras.activations.silu,
}
_COMMON = ["gelu", "relu", "silu", "tanh", "linear", "leaky_relu", "softmax"]


def activation(act):
    """Returns an activation function.

    Args:
        act: a function, or a name: a name in Keras, or `gelu_tanh`,
            `gelu_new`, `gelu_pytorch_tanh`, `gelu_erf`, `swish`.

    Raises:
        ValueError: if the name is unknown.
    """
    if act in _OURS:
        return _OURS[act]
    try:
        return keras.activations.get(act)
    except (ValueError, TypeError) as error:
        guess = nearest(str(act), [*_OURS, *_COMMON])
        raise ValueError(
            f"`hidden_act` must be an activation; did you mean {guess!r}? "
            f"Received: hidden_act={act!r}"
        ) from error
