"""Pooling of a sequence by its first token."""

import keras


@keras.saving.register_keras_serializable(package="su_models")
class FirstToken(keras.layers.Layer):
    """Takes the vector of the first token: BERT's `[CLS]`.

    Paper: https://arxiv.org/abs/1810.04805

        y = x[:, 0]

    BERT is trained so that the vector of its first token represents the whole
    sequence; its pooler is this layer and a dense one. The mask of the
    sequence is dropped.

    Call arguments:
        inputs: x, `(batch, length, ...)`, with at least one token.

    Returns:
        y, `(batch, ...)`.

    Raises:
        ValueError: if the inputs have fewer than two axes or no tokens.

    Example:

    >>> tuple(su_models.layers.FirstToken()(keras.ops.ones((2, 7, 4))).shape)
    (2, 4)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        self._check(inputs.shape)
        return inputs[:, 0]

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_shape(self, input_shape):
        self._check(input_shape)
        return (input_shape[0], *input_shape[2:])

    def _check(self, shape):
        if len(shape) < 2 or shape[1] == 0:
            raise ValueError(
                "`inputs` must be `(batch, length, ...)`, with at least one "
                f"token. Received: inputs of shape {tuple(shape)}"
            )
