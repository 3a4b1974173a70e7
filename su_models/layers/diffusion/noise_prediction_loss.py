"""The loss of DDPM."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="su_models")
class NoisePredictionLoss(keras.layers.Layer):
    """Squared distance of predicted and true noise, added to the losses.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》
    Paper: https://arxiv.org/abs/2006.11239

        ‖ε - ε_θ(ᾱ_t x_0 + β̄_t ε, t)‖²                             Eq. (15)

    (the article's ε_θ is β_t/β̄_t times this one). The square is summed over
    the axes of an image and averaged over the batch: with a mean over the
    image the gradients come near Adam's epsilon.

    Call arguments:
        noise: ε, `(batch, ...)`.
        predicted_noise: ε_θ, of the shape of `noise`.

    Returns:
        The loss of each image, float32 `(batch,)`.

    Example:

    >>> loss = su_models.layers.NoisePredictionLoss()
    >>> one = keras.ops.ones((2, 8, 8, 1))
    >>> [float(v) for v in loss(one, 2 * one)]
    [64.0, 64.0]
    """

    def build(self, noise_shape, predicted_noise_shape):
        if len(noise_shape) < 1 or tuple(noise_shape[1:]) != tuple(
            predicted_noise_shape[1:]
        ):
            raise ValueError(
                "`predicted_noise` must have the shape of `noise`, "
                f"{tuple(noise_shape)}. Received: predicted_noise of shape "
                f"{tuple(predicted_noise_shape)}"
            )
        self.built = True

    def call(self, noise, predicted_noise):
        delta = ops.cast(noise, "float32") - ops.cast(
            predicted_noise, "float32"
        )
        axes = tuple(range(1, len(noise.shape)))
        loss = ops.sum(ops.square(delta), axis=axes)  # (b,)
        self.add_loss(ops.mean(loss))
        return loss

    def compute_output_spec(self, noise, predicted_noise):
        return keras.KerasTensor(noise.shape[:1], "float32")
