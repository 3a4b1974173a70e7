"""Bases of the samplers: a compiled loop from noise to data."""

import keras
import numpy as np
from keras import ops

from su_models.backend.compile import compiled
from su_models.backend.random import normal, seed_words
from su_models.layers.diffusion.timestep_embedding import TimestepEmbedding
from su_models.ops.noise_schedule import check_schedule
from su_models.sampling.batches import Batches
from su_models.sampling.step import Network, Step
from su_models.utils.checks import (
    MAX_SEED,
    check_flag,
    check_numbers,
    check_seed,
    check_size,
)


class SamplingLoop:
    """Base of samplers that apply a fixed number of steps to particles.

    A subclass passes the coefficients of its steps to the constructor, and
    defines a step in `step`. By default a step combines the particles x, the
    prediction of the network and fresh noise z, with three coefficients from
    `table`:

        x ← a x - b f(x, t) + c z

    The loop is one compiled program. Fresh noise depends only on the seed and
    the number of the step, so `progress=True`, which runs the same program a
    few steps at a time, gives the same result.

    Args:
        times: array `(n,)`, integers or floats: the time that the network
            receives at each step, in the order of the steps.
        table: array `(n, k)`, the coefficients of each step. They are rounded
            to float32.

    Call arguments:
        denoiser: a callable `(x, t)` → a tensor of the shape of `x`, where
            `t` is `(batch,)`, int32 or float32 as `times`; or a
            `keras.Model` with the inputs `[x, t]`, or with the input `x`
            alone.
        noise: initial particles, floats `(batch, ...)`.
        seed: optional int from 0 to 2³¹ - 1 for the fresh noise. None draws
            a seed. Samplers without fresh noise ignore it.
        progress: bool. Whether to show a progress bar.

    Returns:
        Final particles, float32, of the shape of `noise`.

    Raises:
        ValueError: if `noise` has no batch axis, is empty, not
            floating-point or not finite, or if the network returns another
            shape.
    """

    draws_per_step = 1  # the number of fresh noises that a step may draw

    def __init__(self, times, table):
        self.times = np.asarray(times)  # (n,)
        self.table = np.asarray(table)  # (n, k)
        self._programs = None  # a denoiser and its compiled loop

    @property
    def is_random(self):
        """Whether the result depends on the seed: whether any c is not 0."""
        return bool(self.table[:, 2].any())

    def step(self, state, now):
        """Returns the state after a step, as a compiled function of tensors.

        Args:
            state: result of `begin` or of the previous step.
            now: the `Step`, with its coefficients, network and noise.
        """
        a, b, c = ops.unstack(now.row, 3)
        x = a * state - b * now.predict(state)
        return x + c * now.noise(state) if self.is_random else x

    def begin(self, x):
        """Returns the state before the first step, by default x itself.

        A sampler with further state, such as an adaptive step size, returns a
        tuple of tensors here.
        """
        return x

    def end(self, state):
        """Returns the particles of the last state."""
        return state

    def vector_field(self, denoiser):
        """Returns the callable or model that `Step.predict` evaluates."""
        if not callable(denoiser):
            raise ValueError(
                "`denoiser` must be a callable (x, t) or a keras.Model. "
                f"Received: denoiser={denoiser!r}"
            )
        return denoiser

    def __call__(self, denoiser, noise, seed=None, progress=False):
        seed = check_seed(seed)
        if seed is None:
            seed = int(np.random.default_rng().integers(MAX_SEED))
        progress = check_flag("progress", progress)
        state, n = self.begin(_check_noise(noise)), len(self.times)
        program = self._program(denoiser)
        if not progress:
            return self.end(program(state, seed, 0, 0, n))
        bar = keras.utils.Progbar(n, unit_name="step")
        for start in range(0, n, 1 + n // 50):
            stop = min(start + 1 + n // 50, n)
            state = program(state, seed, 0, start, stop)
            bar.update(stop)
        return self.end(state)

    def _program(self, denoiser):
        """Returns the compiled loop; the last one is cached."""
        if self._programs is None or self._programs[0] is not denoiser:
            self._programs = denoiser, self._compile(denoiser)
        return self._programs[1]

    def _compile(self, denoiser):
        field = self.vector_field(denoiser)
        network = Network(field)
        kind = "float32" if self.times.dtype.kind == "f" else "int32"

        def loop(state, seed, stream, start, stop):
            times = ops.convert_to_tensor(self.times, kind)
            table = ops.convert_to_tensor(self.table, "float32")
            rows = [times, *network.rows(times)]  # (n, ...), one row per step

            def words(index, draw):
                number = index * self.draws_per_step + draw
                return seed_words(seed, stream + number)

            def step(i, state):
                return self.step(state, Step(i, network, rows, table, words))

            return ops.fori_loop(start, stop, step, state)

        return compiled(loop, getattr(field, "variables", ()))


class Sampler(SamplingLoop):
    """Base of samplers whose samples are independent and come in batches."""

    def sample(
        self, denoiser, num_samples, seed=0, batch_size=64, progress=False
    ):
        """Draws x_T, runs the loop, and returns x_0.

        All batches have the same size, so that one program serves any number
        of samples, and the first samples of a seed do not depend on the
        number of samples.

        Args:
            denoiser: a `keras.Model` with the inputs `[x, t]`.
            num_samples: int >= 1.
            seed: int from 0 to 2³¹ - 1. Seed of x_T and of the fresh noise.
            batch_size: int >= 1. Number of samples that are drawn at once.
            progress: bool. Whether to show a progress bar over the batches.

        Returns:
            A float32 array `(num_samples, ...)`.
        """
        progress = check_flag("progress", progress)
        batches = self.batches(denoiser, batch_size)
        return batches.sample(num_samples, seed, progress)

    def batch_program(self, denoiser, batch_size):
        """Returns a function from `(seed, k)` to batch k of the samples."""
        shape = _batch_shape(denoiser, batch_size)
        n = len(self.times)
        draws = n * self.draws_per_step

        def draw(seed, stream):
            return normal(shape, seed_words(seed, stream))

        draw, program = compiled(draw), self._program(denoiser)

        def batch(seed, k):
            first = k * (draws + 1)  # streams of the loop, then one for x_T
            state = self.begin(draw(seed, first + draws))
            return self.end(program(state, seed, first, 0, n))

        return batch

    def endpoint(self, denoiser, batch_size=64):
        """Returns a function `sample(seed, num_samples)` for the export.

        Pass it to `su_models.export.export_saved_model` in `endpoints`. The
        artifact's function takes two int32 numbers and returns the same
        samples as `self.sample(denoiser, num_samples, seed, batch_size)`, or
        none if `num_samples` is below 1. A batch is one program compiled by
        XLA, and the batches are computed one after the other.

        Args:
            denoiser: a `keras.Model` with the inputs `[x, t]`.
            batch_size: int >= 1. Number of samples that are drawn at once.

        Returns:
            A function with an attribute `input_signature`.
        """
        return self.batches(denoiser, batch_size).endpoint()

    def batches(self, denoiser, batch_size):
        """Returns the `Batches` that `sample` and `endpoint` draw from."""
        batch = self.batch_program(denoiser, batch_size)
        return Batches(batch, _batch_shape(denoiser, batch_size))


class DiffusionSampler(Sampler):
    """Base of samplers that reverse a diffusion.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》

    The sampler visits steps t in descending order. The network predicts the
    noise in x_t, and a step is

        x ← a_t x - b_t ε_θ(x, t) + c_t z

    Args:
        schedule: a `NoiseSchedule` with T steps.
        times: array `(n,)`, the visited steps.
        coefficients: a_t, b_t and c_t, each a float64 array `(n,)`.

    Call arguments:
        denoiser: a callable `(x, t)` → predicted noise of the shape of `x`,
            where `t` is int32 `(batch,)` in 1, ..., T; or a `keras.Model`
            with the inputs `[x, t]`, or with only the input `x`.
        noise: x_T, floats `(batch, ...)`, standard normal.
        seed: optional int from 0 to 2³¹ - 1 for the fresh noise. None draws
            a seed. Samplers without fresh noise ignore it.
        progress: bool. Whether to show a progress bar.

    Returns:
        x_0, float32, of the shape of `noise`. Not clipped.

    Raises:
        ValueError: if `noise` has no batch axis, is empty, not
            floating-point or not finite; or if the denoiser has a
            `TimestepEmbedding` with another number of steps than the
            schedule.
    """

    def __init__(self, schedule, times, coefficients):
        self.schedule = check_schedule(schedule)
        super().__init__(times, np.stack(coefficients, axis=-1))

    def vector_field(self, denoiser):
        TimestepEmbedding.check(denoiser, self.schedule.num_steps)
        return super().vector_field(denoiser)


class GradientFlow(SamplingLoop):
    """Base of noisy gradient flows of particles by Euler-Maruyama steps.

        x ← x + η f(x, t) + √(2ητ) z

    Args:
        step_size: float > 0, η; or one for each step, in the order in which
            they are taken.
        num_steps: int >= 1; the number of steps.
        temperature: float >= 0, τ; or one for each step.
    """

    def __init__(self, step_size, num_steps, temperature):
        self.num_steps = check_size("num_steps", num_steps)
        eta = _each_step("step_size", step_size, self.num_steps)
        tau = _each_step("temperature", temperature, self.num_steps)
        if not (eta > 0).all():
            raise ValueError(
                f"`step_size` must be positive. Received: step_size={step_size}"
            )
        if not (tau >= 0).all():
            raise ValueError(
                "`temperature` must not be negative. "
                f"Received: temperature={temperature}"
            )
        self.step_size, self.temperature = eta, tau
        super().__init__(
            times=np.arange(self.num_steps, 0, -1),
            table=np.stack(
                [np.ones_like(eta), -eta, np.sqrt(2 * eta * tau)], axis=-1
            ),
        )


def _each_step(name, value, num_steps):
    """Returns a float64 array `(num_steps,)`."""
    each = check_numbers(name, value)
    if each.shape not in ((), (num_steps,)):
        raise ValueError(
            f"`{name}` must be a number, or num_steps={num_steps} of "
            f"them. Received: {name}={value!r}"
        )
    return np.broadcast_to(each, (num_steps,))


def _check_noise(noise):
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
    batch_size = check_size("batch_size", batch_size)
    inputs = getattr(denoiser, "inputs", None)
    if not inputs or None in inputs[0].shape[1:]:
        raise ValueError(
            "`denoiser` must be a model whose first input is an image of "
            f"known size. Received: denoiser={denoiser!r}, inputs={inputs}"
        )
    return (batch_size, *inputs[0].shape[1:])
