"""The loss of a variational autoencoder."""

import keras
from keras import ops

from su_models.ops.normal_kl import normal_kl
from su_models.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="su_models")
class VAELoss(keras.layers.Layer):
    """Reconstruction error plus divergence from the prior, for each example.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》
    Paper: https://arxiv.org/abs/1312.6114

        ‖x - x̂‖² / (2 τ²) + ½ Σ (μ² + σ² - log σ² - 1)

    The first term is -log q(x|z) without its constant, for pixels that are
    normal around x̂ with the standard deviation τ; the second is
    KL(p(z|x) ‖ N(0, I)), Eq. (5). Both are sums over an example, not means:
    means would weigh the terms by the sizes of image and code. The loss of a
    batch is the mean over its examples.

    τ sets what detail is worth a bit of code. A small τ gives sharp
    reconstructions and codes that fill the prior less evenly.

    Args:
        stddev: float > 0. τ.

    Call arguments:
        inputs: x, floats `(batch, ...)`.
        reconstruction: x̂, of the shape of `inputs`.
        mean: μ, floats `(batch, ...)`.
        log_variance: log σ², of the shape of `mean`.

    Returns:
        The loss of each example, float32 `(batch,)`. Its mean is added to
        the losses of the model.

    Raises:
        ValueError: if two shapes that have to be equal are not.

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
        delta = ops.cast(inputs, "float32") - ops.cast(
            reconstruction, "float32"
        )
        error = _sum(ops.square(delta)) / (2 * self.stddev**2)  # (b,)
        loss = error + _sum(normal_kl(mean, log_variance))
        self.add_loss(ops.mean(loss))
        return loss

    def compute_output_spec(self, inputs, reconstruction, mean, log_variance):
        return keras.KerasTensor(inputs.shape[:1], "float32")

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


def _sum(x):
    """Sums over all axes but the first."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))
