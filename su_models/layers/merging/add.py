"""A sum that keeps the mask."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="su_models")
class Add(keras.layers.Add):
    """Adds tensors, and masks each step that any of them masks.

    Article: https://kexue.fm/archives/6810#Mask
        《“让Keras更酷一些！”：层中层与mask》

    The layer differs from `keras.layers.Add` in its mask. In Keras 3, the sum
    has no mask if one of the inputs has none. A Transformer adds token
    embeddings, which have a mask, to segment embeddings, which have none, so
    its attention would include padding. Here

    - inputs without a mask do not matter: a single mask is passed on as it is;
    - with several masks, a step is unmasked if it is unmasked in each of them.

    The operator `+` on tensors drops the mask too.

    Call arguments:
        inputs: a list of tensors, of the same shape or with axes of size 1.

    Returns:
        The sum of the tensors.

    Raises:
        ValueError: if the inputs are not a list of tensors that can be
            added.

    Example:

    >>> ids = keras.ops.array([[5, 6, 0]])
    >>> tokens = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    >>> segments = keras.layers.Embedding(2, 4)(keras.ops.zeros_like(ids))
    >>> x = su_models.layers.Add()([tokens, segments])
    >>> tuple(keras.layers.GlobalAveragePooling1D()(x).shape)  # of two tokens
    (1, 4)
    """

    def build(self, input_shape):
        if not input_shape or not all(
            isinstance(shape, (list, tuple)) for shape in input_shape
        ):
            raise ValueError(
                "`inputs` must be a list of tensors. "
                f"Received: inputs of shape {input_shape}"
            )
        super().build(input_shape)

    def compute_mask(self, inputs, mask=None):
        masks = [m for m in mask or () if m is not None]
        if not masks:
            return None
        merged = masks[0]
        for m in masks[1:]:
            merged = ops.logical_and(merged, m)
        return merged
