"""The causal mask of language models, as a layer."""

import keras
from keras import ops

from su_models.ops.attention_mask import causal_mask


@keras.saving.register_keras_serializable(package="su_models")
class CausalMask(keras.layers.Layer):
    """Lets each token attend to itself and to earlier tokens.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    One mask serves all blocks: pass it to an attention layer as
    `attention_mask`. The layer ignores padding.

    Call arguments:
        inputs: any tensor `(batch, n, ...)`; only its length is read.

    Returns:
        Booleans `(1, n, n)`, True where query i may attend to key j ≤ i.

    Raises:
        ValueError: if the inputs have fewer than two axes.

    Example:

    >>> mask = su_models.layers.CausalMask()(keras.ops.zeros((2, 3)))
    >>> keras.ops.convert_to_numpy(mask)[0].tolist()
    [[True, False, False], [True, True, False], [True, True, True]]
    """

    def call(self, inputs):
        _check_rank(inputs)
        n = ops.shape(inputs)[1]
        return causal_mask(n, n)

    def compute_mask(self, inputs, mask=None):
        return None  # a mask is not a sequence

    def compute_output_spec(self, inputs):
        _check_rank(inputs)
        n = inputs.shape[1]
        return keras.KerasTensor((1, n, n), "bool")


def _check_rank(inputs):
    """Raises a ValueError for inputs without an axis of length."""
    if len(inputs.shape) < 2:
        raise ValueError(
            "`inputs` must be `(batch, length, ...)`. "
            f"Received: inputs of shape {tuple(inputs.shape)}"
        )
