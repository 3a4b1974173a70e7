"""The loss of DDPM."""

import keras
from keras import ops

from su_models.backend.match_axes import match_shape
from su_models.backend.precision import accumulated_mean, sum_dtype
from su_models.utils.checks import check_shape


@keras.saving.register_keras_serializable(package="su_models")
class NoisePredictionLoss(keras.layers.Layer):
    """Adds the squared distance of predicted and true noise to the losses.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》
    Paper: https://arxiv.org/abs/2006.11239

        ‖ε - ε_θ(ᾱ_t x_0 + β̄_t ε, t)‖²                             Eq. (15)

    (the article's ε_θ is β_t/β̄_t times this one). The squares are summed over
    the axes of an image and averaged over the batch: with a mean over the
    image, the gradients would become about as small as Adam's epsilon.

    Call arguments:
        noise: ε, `(batch, ...)`.
        predicted_noise: ε_θ, of the shape of `noise`.

    Returns:
        The loss of each image, `(batch,)`, in float32, or in float64 if the
        policy is float64.

    Raises:
        ValueError: if the two shapes differ, even in the batch axis only.

    Example:

    >>> loss = su_models.layers.NoisePredictionLoss()
    >>> one = keras.ops.ones((2, 8, 8, 1))
    >>> [float(v) for v in loss(one, 2 * one)]
    [64.0, 64.0]
    """

    def build(self, noise_shape, predicted_noise_shape):
        check_shape("predicted_noise", predicted_noise_shape, noise_shape)
        self.built = True

    def call(self, noise, predicted_noise):
        predicted_noise = match_shape("predicted_noise", predicted_noise, noise)
        wide = sum_dtype(self.compute_dtype)
        delta = ops.cast(noise, wide) - ops.cast(predicted_noise, wide)
        axes = tuple(range(1, len(noise.shape)))
        loss = ops.sum(ops.square(delta), axis=axes)  # (b,)
        self.add_loss(accumulated_mean(loss))
        return loss

    def compute_output_shape(self, noise_shape, predicted_noise_shape):
        return noise_shape[:1]

    def compute_output_spec(self, noise, predicted_noise):
        shape = self.compute_output_shape(noise.shape, predicted_noise.shape)
        return keras.KerasTensor(shape, sum_dtype(self.compute_dtype))
