"""Normal samples with gradients with respect to mean and variance."""

import keras
from keras import ops

from su_models.backend.match_axes import match_shape
from su_models.backend.precision import sum_dtype
from su_models.utils.checks import check_seed, check_shape


@keras.saving.register_keras_serializable(package="su_models")
class NormalSampling(keras.layers.Layer):
    """Samples z ~ N(μ, σ²), differentiable with respect to μ and σ.

    Article: https://kexue.fm/archives/6705
        《漫谈重参数：从正态分布到Gumbel Softmax》
    Paper: https://arxiv.org/abs/1312.6114

    The noise has no parameters, and z is a function of it:

        E[f(z)] = E[f(ε σ + μ)],   z = ε σ + μ,   ε ~ N(0, 1)         Eq. (5)

    σ = exp(log σ² / 2), so log σ² may be any number. In a VAE (article 5253)
    μ and log σ² are the encoder's two outputs, and `normal_kl` is the
    divergence to add to the loss.

    The layer samples at every call, in training and in inference, since the
    loss of a VAE is an expectation over z. For a deterministic value use μ.
    Masks pass through unchanged.

    Args:
        seed: optional int from 0 to 2³¹ - 1. Seed of the noise.

    Call arguments:
        mean: μ, floats `(batch, ...)`.
        log_variance: log σ², of the shape of `mean`.

    Returns:
        z, of the shape and dtype of `mean`.

    Raises:
        ValueError: if the two shapes differ, or `seed` is invalid.

    Example:

    >>> sample = su_models.layers.NormalSampling(seed=0)
    >>> z = sample(keras.ops.ones((2, 3)), keras.ops.full((2, 3), -200.0))
    >>> print(keras.ops.convert_to_numpy(z))
    [[1. 1. 1.]
     [1. 1. 1.]]
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = check_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def build(self, mean_shape, log_variance_shape):
        check_shape("log_variance", log_variance_shape, mean_shape)
        self.built = True

    def call(self, mean, log_variance):
        log_variance = match_shape("log_variance", log_variance, mean)
        wide = sum_dtype(self.compute_dtype)
        noise = keras.random.normal(
            ops.shape(mean), dtype="float32", seed=self.generator
        )
        # float16 overflows for log σ² > 22, and rounds ε below 6e-8 to 0
        sigma = ops.exp(ops.cast(log_variance, wide) / 2)
        z = ops.cast(mean, wide) + ops.cast(noise, wide) * sigma
        return ops.cast(z, self.compute_dtype)

    def compute_output_shape(self, mean_shape, log_variance_shape):
        return mean_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
