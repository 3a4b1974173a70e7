"""The loop from noise to data, one compiled program."""

import keras
import numpy as np
from keras import ops

from su_models.backend.compile import compiled
from su_models.backend.random import normal, seed_words
from su_models.layers.diffusion.timestep_embedding import TimestepEmbedding
from su_models.sampling.batches import Batches
from su_models.utils.checks import is_integer
from su_models.utils.split_model import split_model


class Sampler:
    """Runs a diffusion backwards: the common part of the samplers.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》

    Every such sampler visits steps t in falling order, and each time mixes
    what it has with the predicted noise and with fresh noise z:

        x ← a_t x - b_t ε_θ(x, t) + c_t z

    A subclass says which steps (`times`) and which coefficients
    (`coefficients`); they are computed in float64 and rounded once.

    The loop is one compiled program. Fresh noise depends on the seed and on
    the number of the step alone, so `progress=True`, which runs the very
    same program a few steps at a time, gives the same result.

    Args:
        schedule: a `NoiseSchedule`.

    Call arguments:
        denoiser: a callable `(x, t)` → predicted noise of the shape of `x`,
            where `t` is int32 `(batch,)` in 1, ..., T; or a `keras.Model`
            with the inputs `[x, t]`, or with the input `x` alone.
        noise: x_T, floats `(batch, ...)`, standard normal.
        seed: optional int from 0 to 2³¹ - 1 for the fresh noise; None takes
            a random one. Not used by samplers that draw none.
        progress: bool. Shows a progress bar.

    Returns:
        x_0, float32, of the shape of `noise`. Not clipped.

    Raises:
        ValueError: if `noise` has no batch axis, is empty, is not floating
            or has entries that are not finite; or if the denoiser has a
            `TimestepEmbedding` of another number of steps than the schedule.
    """

    def __init__(self, schedule):
        self.schedule = schedule
        self.times = self.steps()  # (n,), falling
        self.table = np.stack(self.coefficients(), axis=-1)  # (n, 3)
        self.is_random = bool(self.table[:, 2].any())
        self._programs = (None, None)

    def steps(self):
        """Returns the visited steps, integers `(n,)` in falling order."""
        raise NotImplementedError

    def coefficients(self):
        """Returns float64 arrays `(n,)`: a_t, b_t and c_t of each step."""
        raise NotImplementedError

    def check_steps(self, denoiser):
        """Refuses a model with a table of other steps than ours."""
        TimestepEmbedding.check(denoiser, self.schedule)

    def __call__(self, denoiser, noise, seed=None, progress=False):
        if seed is None:
            seed = int(np.random.default_rng().integers(_MAX_SEED))
        x, n = _checked_noise(noise), len(self.times)
        seed, program = _checked_seed(seed), self._program(denoiser)
        if not progress:
            return program(x, seed, 0, 0, n)
        bar = keras.utils.Progbar(n, unit_name="step")
        for start in range(0, n, 1 + n // 50):
            stop = min(start + 1 + n // 50, n)
            x = program(x, seed, 0, start, stop)
            bar.update(stop)
        return x

    def sample(
        self, denoiser, num_samples, seed=0, batch_size=64, progress=False
    ):
        """Draws x_T, runs the loop, and returns x_0.

        The batches have one size, so that one program serves any number of
        samples, and the first samples of a seed are the same however many
        are asked for.

        Args:
            denoiser: a `keras.Model` with the inputs `[x, t]`.
            num_samples: int >= 1.
            seed: int from 0 to 2³¹ - 1, of x_T and of the fresh noise.
            batch_size: int >= 1. Samples that are drawn at once.
            progress: bool. Shows a progress bar over the batches.

        Returns:
            A float32 array `(num_samples, ...)`.
        """
        batches = self.batches(denoiser, batch_size)
        return batches.sample(num_samples, seed, progress)

    def batch_program(self, denoiser, batch_size):
        """Returns a function `(seed, k)` → batch number k of the samples."""
        shape = _batch_shape(denoiser, batch_size)
        n = len(self.times)

        def draw(seed, stream):
            return normal(shape, seed_words(seed, stream))

        draw, program = compiled(draw), self._program(denoiser)

        def batch(seed, k):
            first = k * (n + 1)  # n streams of the loop, then one for x_T
            return program(draw(seed, first + n), seed, first, 0, n)

        return batch

    def endpoint(self, denoiser, batch_size=64):
        """Returns `sample(seed, num_samples)`, to be exported with a model.

        Give it to `su_models.export.export_saved_model` among `endpoints`.
        The artifact's function takes two int32 numbers, as many samples as
        one likes, and returns the numbers that `self.sample(denoiser,
        num_samples, seed, batch_size)` returns here; for less than one
        sample, none. Its batches are one program compiled by XLA, computed
        one after the other.

        Args:
            denoiser: a `keras.Model` with the inputs `[x, t]`.
            batch_size: int >= 1. Samples that are drawn at once.

        Returns:
            A function with an attribute `input_signature`.
        """
        return self.batches(denoiser, batch_size).endpoint()

    def batches(self, denoiser, batch_size):
        """Returns the `Batches` that `sample` and `endpoint` draw from."""
        batch = self.batch_program(denoiser, batch_size)
        return Batches(batch, _batch_shape(denoiser, batch_size))

    def _program(self, denoiser):
        """Returns the compiled loop; the last one is kept for reuse."""
        if self._programs[0] is not denoiser:
            self._programs = denoiser, self._compile(denoiser)
        return self._programs[1]

    def _compile(self, denoiser):
        if isinstance(denoiser, keras.Model):
            self.check_steps(denoiser)
        before_loop, predict = _split(denoiser)

        def loop(x, seed, stream, start, stop):
            times = ops.convert_to_tensor(self.times, "int32")
            table = ops.convert_to_tensor(self.table, "float32")
            rows = [times, *before_loop(times)]  # (n, ...): of each step

            def step(i, x):
                inputs = [_repeat(ops.take(row, i, axis=0), x) for row in rows]
                a, b, c = ops.unstack(ops.take(table, i, axis=0), 3)
                x_next = a * x - b * _checked(predict(x, *inputs), x)
                if self.is_random:
                    words = seed_words(seed, stream + i)
                    x_next += c * normal(ops.shape(x), words)
                return x_next

            return ops.fori_loop(start, stop, step, x)

        return compiled(loop, getattr(denoiser, "variables", ()))


_MAX_SEED = 2**31


def _split(denoiser):
    """Takes out of the loop what a network computes from the step alone.

    That is the same for each image of a batch, and can be had for all steps
    at once. In a network of dense layers it is a third of the work.

    Returns:
        Two functions: from all steps to a list of tensors `(n, ...)`; and
        from x, t and those tensors' rows to the predicted noise.
    """
    if not isinstance(denoiser, keras.Model):
        return lambda times: [], denoiser
    inputs = getattr(denoiser, "inputs", None) or []
    if len(inputs) == 1:  # it does not ask which step it is
        return lambda times: [], lambda x, t: denoiser(x, training=False)
    first, rest = split_model(denoiser, inputs[1:])

    def before_loop(times):
        if first is None:
            return []
        return keras.tree.flatten(first([times], training=False))

    def predict(*inputs):
        return rest([*inputs], training=False)

    return before_loop, predict


def _repeat(row, x):
    """One row for each image: (...) becomes (b, ...)."""
    return ops.broadcast_to(row, (ops.shape(x)[0], *row.shape))


def _checked(epsilon, x):
    if tuple(epsilon.shape) != tuple(x.shape):
        raise ValueError(
            "What is predicted must have the shape of the input, "
            f"{tuple(x.shape)}. Received: shape={tuple(epsilon.shape)}"
        )
    return ops.cast(epsilon, "float32")


def _checked_noise(noise):
    noise = ops.convert_to_tensor(noise)
    dtype = keras.backend.standardize_dtype(noise.dtype)
    if "float" not in dtype or 0 in (len(noise.shape), *noise.shape):
        raise ValueError(
            "`noise` must be floating, with a batch axis, and not empty. "
            f"Received: dtype={dtype}, shape={tuple(noise.shape)}"
        )
    if not ops.all(ops.isfinite(noise)):
        raise ValueError("`noise` must be finite. Received: NaN or infinity")
    return ops.cast(noise, "float32")


def _batch_shape(denoiser, batch_size):
    _check_count("batch_size", batch_size)
    inputs = getattr(denoiser, "inputs", None)
    if not inputs or None in inputs[0].shape[1:]:
        raise ValueError(
            "`denoiser` must be a model whose first input is an image of "
            f"known size. Received: denoiser={denoiser!r}, inputs={inputs}"
        )
    return (batch_size, *inputs[0].shape[1:])


def _check_count(name, n):
    if not is_integer(n) or n < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={n}"
        )


def _checked_seed(seed):
    if not is_integer(seed) or not 0 <= seed < _MAX_SEED:
        raise ValueError(
            f"`seed` must be an integer in [0, 2**31). Received: seed={seed}"
        )
    return int(seed)
