"""Embedding of the diffusion step."""

import keras
import numpy as np
from keras import ops

from su_models.backend.indices import check_indices, nan_outside
from su_models.backend.take_rows import take_rows
from su_models.utils.checks import check_flag, check_size


@keras.saving.register_keras_serializable(package="su_models")
class TimestepEmbedding(keras.layers.Layer):
    """Turns the step t of a diffusion into a vector.

    Article: https://kexue.fm/archives/9152
        《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》
    Paper: https://arxiv.org/abs/2006.11239

    The layer has a table with one row for each step. The rows are learned, or
    the frozen sinusoids of the Transformer in adjacent pairs,

        row[2i] = sin(s θ_i), row[2i+1] = cos(s θ_i),   θ_i = 10000^(-2i/dim)

    where s = t - 1 counts from 0. When sampling with small σ, the author
    observed less noisy images with the sinusoids than with a learned table
    (https://kexue.fm/archives/9181).

    Args:
        num_steps: int >= 1. Number T of diffusion steps.
        dim: int >= 1, even if `sinusoidal`. Size of a vector.
        sinusoidal: bool. Whether to use frozen sinusoids instead of a learned
            table.

    Call arguments:
        steps: integers `(batch,)` in 1, ..., T.

    Returns:
        A tensor `(batch, dim)`. Compiled programs and SavedModels, which
        cannot raise an error, return NaN for a step that does not exist.

    Raises:
        ValueError: if an argument is invalid, or a known step is not in 1,
            ..., T.

    Example:

    >>> embed = su_models.layers.TimestepEmbedding(1000, 64)
    >>> tuple(embed(keras.ops.array([1, 1000])).shape)
    (2, 64)
    """

    def __init__(self, num_steps, dim, sinusoidal=False, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False  # float16 would round large step numbers
        self.num_steps = check_size("num_steps", num_steps)
        self.dim = check_size("dim", dim)
        self.sinusoidal = check_flag("sinusoidal", sinusoidal)
        if self.sinusoidal and self.dim % 2:
            raise ValueError(
                f"`dim` must be even for sinusoids. Received: dim={dim!r}"
            )

    def build(self, input_shape):
        self.table = self.add_weight(
            name="table",
            shape=(self.num_steps, self.dim),
            initializer=self._sinusoids if self.sinusoidal else "uniform",
            trainable=not self.sinusoidal,
        )
        self.built = True

    def call(self, steps):
        steps, inside = check_indices("steps", steps, self.num_steps, first=1)
        rows = take_rows(self.table, steps - 1, check=False)
        return nan_outside(ops.cast(rows, self.compute_dtype), inside)

    def _sinusoids(self, shape, dtype=None):
        theta = 10000.0 ** (-np.arange(0, self.dim, 2) / self.dim)
        angles = np.arange(self.num_steps)[:, None] * theta  # (T, dim/2)
        pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
        return ops.convert_to_tensor(pairs.reshape(shape), dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def get_config(self):
        return {
            **super().get_config(),
            "num_steps": self.num_steps,
            "dim": self.dim,
            "sinusoidal": self.sinusoidal,
        }

    @classmethod
    def check(cls, denoiser, num_steps):
        """Rejects a network whose table has another number of steps.

        Args:
            denoiser: a `keras.Model`; its layers and inner models are
                searched. Anything else has no layers.
            num_steps: int. How many steps the table must have.

        Raises:
            ValueError: if a `TimestepEmbedding` has another number of steps.
        """
        for layer in _layers(denoiser):
            if isinstance(layer, cls) and layer.num_steps != num_steps:
                raise ValueError(
                    "`denoiser` must have a table with as many steps as the "
                    f"diffusion, num_steps={num_steps}. "
                    f"Received: denoiser with num_steps={layer.num_steps}"
                )


def _layers(model):
    """Yields the layers of a model, and of models inside it."""
    for layer in model.layers if isinstance(model, keras.Model) else ():
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
