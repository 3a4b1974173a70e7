"""Forward diffusion of data to a random step."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.ops.noise_schedule import check_schedule
from su_models.utils.checks import check_seed
from su_models.utils.several_shapes import SeveralShapes


@keras.saving.register_keras_serializable(package="su_models")
class ForwardDiffusion(keras.layers.Layer):
    """Adds noise to each image up to a random step of a diffusion.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》
    Paper: https://arxiv.org/abs/2006.11239

        x_t = ᾱ_t x_0 + β̄_t ε,   ε ~ N(0, I)                        Eq. (6)

    with t uniform in 1, ..., T. The steps of a batch are stratified: the T
    steps are divided into n equal parts, image i of n takes a step of part i,
    and one random offset shifts all of them cyclically. Each t is still
    uniform, so the expected loss is the article's, but each batch covers all
    noise levels and its loss varies less (https://arxiv.org/abs/2107.00630).

    Args:
        schedule: a `su_models.sampling.NoiseSchedule`.
        seed: optional int from 0 to 2³¹ - 1. Seed of steps and noise.

    Call arguments:
        inputs: x_0, floats `(batch, ...)`.

    Returns:
        `(x_t, t, ε)`: `x_t` and `ε` of the shape of `inputs`, `t` int32
        `(batch,)`. ε is float32.

    Raises:
        ValueError: if `schedule` is not a `NoiseSchedule`, or `seed` is not a
            valid seed.

    Example:

    >>> schedule = su_models.sampling.NoiseSchedule.author(1000)
    >>> diffuse = su_models.layers.ForwardDiffusion(schedule, seed=0)
    >>> x, t, noise = diffuse(keras.ops.zeros((2, 8, 8, 1)))
    >>> tuple(x.shape), tuple(t.shape), tuple(noise.shape)
    ((2, 8, 8, 1), (2,), (2, 8, 8, 1))
    """

    def __init__(self, schedule, seed=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(schedule, dict):
            schedule = keras.saving.deserialize_keras_object(schedule)
        self.schedule = check_schedule(schedule)
        self.seed = check_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)

    def call(self, inputs):
        n, steps = ops.shape(inputs)[0], self.schedule.num_steps
        offset = keras.random.uniform((), dtype="float32", seed=self.generator)
        level = ops.arange(n, dtype="float32") / ops.cast(n, "float32")
        t = ops.floor((offset + level) % 1.0 * steps)  # (b,)
        t = ops.cast(ops.minimum(t, steps - 1), "int32") + 1
        noise = keras.random.normal(
            ops.shape(inputs), dtype="float32", seed=self.generator
        )
        wide = sum_dtype(self.compute_dtype)
        rank = (-1,) + (1,) * (len(inputs.shape) - 1)
        signal, sigma = (
            ops.reshape(ops.take(ops.cast(table, wide), t), rank)
            for table in (self.schedule.bar_alpha, self.schedule.bar_beta)
        )  # (b, 1, ...)
        x = signal * ops.cast(inputs, wide) + sigma * ops.cast(noise, wide)
        return ops.cast(x, self.compute_dtype), t, noise

    def compute_output_shape(self, input_shape):
        return SeveralShapes([input_shape, input_shape[:1], input_shape])

    def compute_output_spec(self, inputs):
        shapes = self.compute_output_shape(inputs.shape)
        dtypes = self.compute_dtype, "int32", "float32"
        return tuple(map(keras.KerasTensor, shapes, dtypes))

    def get_config(self):
        return {
            **super().get_config(),
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "seed": self.seed,
        }
