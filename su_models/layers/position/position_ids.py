"""A layer that returns the positions of tokens."""

import keras
from keras import ops

from su_models.layers.position.check_positions import check_positions


@keras.saving.register_keras_serializable(package="su_models")
class PositionIds(keras.layers.Layer):
    """Numbers the tokens of a sequence for the rotation in every block.

    Paper: https://arxiv.org/abs/2104.09864

    Pass the result to attention layers as `positions`. One layer serves all
    blocks, so other positions need a change in one place only.

    Call arguments:
        inputs: any tensor `(batch, n, ...)`; only its length is read.
        positions: optional integers `(n,)` or `(batch, n)`, passed through.

    Returns:
        int32 `(n,)`: 0, ..., n - 1; or `positions`, cast to int32.

    Raises:
        ValueError: if `positions` are not integers of this shape.

    Example:

    >>> x = keras.ops.zeros((2, 3, 4))
    >>> keras.ops.convert_to_numpy(su_models.layers.PositionIds()(x)).tolist()
    [0, 1, 2]
    """

    def call(self, inputs, positions=None):
        if positions is None:
            positions = ops.arange(ops.shape(inputs)[1], dtype="int32")
        else:
            positions = check_positions(positions, *inputs.shape[1::-1])
        return ops.cast(positions, "int32")

    def compute_mask(self, *args, **kwargs):
        return None  # positions are not a sequence of features

    def compute_output_spec(self, inputs, positions=None):
        shape = inputs.shape[1:2] if positions is None else positions.shape
        return keras.KerasTensor(shape, "int32")
