"""A layer that sets padding to zero."""

import keras
from keras import ops

from su_models.utils.checks import check_shape


@keras.saving.register_keras_serializable(package="su_models")
class ZeroMasked(keras.layers.Layer):
    """Sets the features of masked steps to zero and keeps the mask.

    Paper: https://arxiv.org/abs/1910.10683

    The encoder of T5 ends with this layer. A decoder that receives only the
    features can then recover the padding from them (`keras.layers.Masking`).

    Call arguments:
        inputs: `(batch, n, ...)`.
        mask: booleans `(batch, n)`; Keras passes the mask that an upstream
            layer attached.

    Returns:
        A tensor like `inputs`.

    Raises:
        ValueError: if the mask has another shape.

    Example:

    >>> x = keras.ops.ones((1, 2, 3))
    >>> mask = keras.ops.array([[True, False]])
    >>> keras.ops.convert_to_numpy(
    ...     su_models.layers.ZeroMasked()(x, mask=mask)
    ... )[0].tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return inputs
        check_shape("mask", mask, inputs.shape[:2])
        for _ in inputs.shape[2:]:
            mask = ops.expand_dims(mask, -1)  # (b, n, 1, ...)
        return ops.where(mask, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape
