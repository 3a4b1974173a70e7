"""Adds the embedding of a diffusion step to every position."""

import keras
from keras import ops

from su_models.backend.match_axes import match_axes
from su_models.utils.checks import check_shape


@keras.saving.register_keras_serializable(package="su_models")
class AddTimestep(keras.layers.Layer):
    """Adds one vector per image to all positions of that image.

    Article: https://kexue.fm/archives/9152
        《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》

        h_{b, ..., c} + v_{b, c}

    v is a function of the step t, and tells the network how noisy its input
    is. Unlike a plain sum, the layer never broadcasts over the batch: one
    step for several images, or several steps for one image, is an error.

    Masks pass through unchanged.

    Call arguments:
        inputs: h, `(batch, ..., channels)`.
        vector: v, `(batch, channels)`.

    Returns:
        A tensor of the shape of `inputs`.

    Raises:
        ValueError: if the shapes do not fit. For sizes that are known only
            when the program runs, the backend raises its own error.

    Example:

    >>> add = su_models.layers.AddTimestep()
    >>> images = keras.ops.zeros((2, 8, 8, 3))
    >>> tuple(add(images, keras.ops.ones((2, 3))).shape)
    (2, 8, 8, 3)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, vector):
        check_shape("vector", vector, (inputs.shape[0], inputs.shape[-1]))
        vector = match_axes("vector", vector, inputs)
        for _ in inputs.shape[1:-1]:
            vector = ops.expand_dims(vector, axis=1)  # (b, 1, ..., c)
        inputs, vector = (
            ops.cast(x, self.compute_dtype) for x in (inputs, vector)
        )
        # `ops.add` on TensorFlow would treat an empty batch as a bias
        return inputs + vector

    def compute_output_shape(self, inputs_shape, vector_shape):
        return inputs_shape
