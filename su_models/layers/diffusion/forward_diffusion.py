"""From data to noise: one random step of the forward diffusion."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="su_models")
class ForwardDiffusion(keras.layers.Layer):
    """Destroys each image up to a random step of a diffusion.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》
    Paper: https://arxiv.org/abs/2006.11239

        x_t = ᾱ_t x_0 + β̄_t ε,   ε ~ N(0, I)                        Eq. (6)

    with t uniform in 1, ..., T. The steps of a batch are stratified: image i
    of n draws from the i-th n-th of the steps, shifted by one random offset
    round the circle. Each t is still uniform, so the expected loss is the
    article's, but a batch sees all noise levels and its loss varies less
    (https://arxiv.org/abs/2107.00630).

    Args:
        schedule: a `su_models.sampling.NoiseSchedule`.
        seed: optional int. Seed of steps and noise.

    Call arguments:
        inputs: x_0, floats `(batch, ...)`.

    Returns:
        `(x_t, t, ε)`: `x_t` and `ε` of the shape of `inputs`, `t` int32
        `(batch,)`.

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
        if not hasattr(schedule, "bar_alpha"):
            raise ValueError(
                "`schedule` must be a `su_models.sampling.NoiseSchedule`. "
                f"Received: schedule={schedule!r}"
            )
        self.schedule = schedule
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        n, steps = ops.shape(inputs)[0], self.schedule.num_steps
        offset = keras.random.uniform((), seed=self.generator)
        level = ops.arange(n, dtype="float32") / ops.cast(n, "float32")
        t = ops.floor((offset + level) % 1.0 * steps)
        t = ops.cast(ops.minimum(t, steps - 1), "int32") + 1
        noise = keras.random.normal(
            ops.shape(inputs), dtype="float32", seed=self.generator
        )
        rank = (-1,) + (1,) * (len(inputs.shape) - 1)
        signal, sigma = (
            ops.reshape(ops.take(ops.cast(table, "float32"), t), rank)
            for table in (self.schedule.bar_alpha, self.schedule.bar_beta)
        )
        x = signal * ops.cast(inputs, "float32") + sigma * noise
        return ops.cast(x, self.compute_dtype), t, noise

    def compute_output_spec(self, inputs):
        shape = inputs.shape
        return (
            keras.KerasTensor(shape, self.compute_dtype),
            keras.KerasTensor(shape[:1], "int32"),
            keras.KerasTensor(shape, "float32"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "seed": self.seed,
        }
