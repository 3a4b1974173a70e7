"""The loss of a variational autoencoder."""

import keras
from keras import ops

from su_models.backend.precision import accumulated_mean, sum_dtype
from su_models.ops.normal_kl import normal_kl
from su_models.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="su_models")
class VAELoss(keras.layers.Layer):
    """Adds up reconstruction error and divergence from the prior.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》
    Paper: https://arxiv.org/abs/1312.6114

        ‖x - x̂‖² / (2 τ²) + ½ Σ (μ² + σ² - log σ² - 1)

    The first term is -log q(x|z) without its constant, for pixels with a
    normal distribution around x̂ with standard deviation τ; the second is
    KL(p(z|x) ‖ N(0, I)), Eq. (5). Both are sums over an example, since means
    would weight the terms by the sizes of image and code. The loss of a batch
    is the mean over its examples.

    τ balances the two terms. A small τ gives sharp reconstructions, and codes
    that cover the prior less evenly.

    Args:
        stddev: float > 0. Standard deviation τ of the pixels.

    Call arguments:
        inputs: x, floats `(batch, ...)`.
        reconstruction: x̂, of the shape of `inputs`.
        mean: μ, floats `(batch, ...)`.
        log_variance: log σ², of the shape of `mean`.

    Returns:
        The loss of each example, `(batch,)`, in float32, or in float64 if the
        policy is float64. Its mean is added to the losses of the model.

    Raises:
        ValueError: if the shapes of `inputs` and `reconstruction`, or of
            `mean` and `log_variance`, differ.

    Example:

    >>> loss = su_models.layers.VAELoss()
    >>> x, code = keras.ops.ones((2, 8, 8, 1)), keras.ops.zeros((2, 3))
    >>> [float(v) for v in loss(x, 2 * x, code, code)]
    [32.0, 32.0]
    """

    def __init__(self, stddev=1.0, **kwargs):
        super().__init__(**kwargs)
        self.stddev = check_positive("stddev", stddev)

    def build(
        self, inputs_shape, reconstruction_shape, mean_shape, log_variance_shape
    ):
        for name, shape, other, wanted in (
            ("reconstruction", reconstruction_shape, "inputs", inputs_shape),
            ("log_variance", log_variance_shape, "mean", mean_shape),
        ):
            if tuple(shape[1:]) != tuple(wanted[1:]):
                raise ValueError(
                    f"`{name}` must have the shape of `{other}`, "
                    f"{tuple(wanted)}. Received: {name} of shape "
                    f"{tuple(shape)}"
                )
        self.built = True

    def call(self, inputs, reconstruction, mean, log_variance):
        wide = sum_dtype(self.compute_dtype)
        inputs, reconstruction, mean, log_variance = (
            ops.cast(x, wide)
            for x in (inputs, reconstruction, mean, log_variance)
        )
        delta = inputs - reconstruction
        error = _sum(ops.square(delta)) / (2 * self.stddev**2)  # (b,)
        loss = error + _sum(normal_kl(mean, log_variance))
        self.add_loss(accumulated_mean(loss))
        return loss

    def compute_output_spec(self, inputs, reconstruction, mean, log_variance):
        return keras.KerasTensor(
            inputs.shape[:1], sum_dtype(self.compute_dtype)
        )

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


def _sum(x):
    """Sums over all axes but the first."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))
