"""The loop from noise to data, one compiled program."""

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
    """Moves particles by one kind of step, a fixed number of times.

    A subclass gives the numbers of its steps to the constructor, and says in
    `step` what a step is. By default a step mixes what it has, what the
    network says and fresh noise z, with the three numbers of `table`:

        x ← a x - b f(x, t) + c z

    The loop is one compiled program. Fresh noise depends on the seed and on
    the number of the step alone, so `progress=True`, which runs the very
    same program a few steps at a time, gives the same result.

    Args:
        times: array `(n,)`, integers or floats: what the network is told at
            each step, in the order of the steps.
        table: array `(n, k)`, what else a step needs to know. Rounded to
            float32 once.

    Call arguments:
        denoiser: a callable `(x, t)` → a tensor of the shape of `x`, where
            `t` is `(batch,)`, int32 or float32 as `times`; or a
            `keras.Model` with the inputs `[x, t]`, or with the input `x`
            alone.
        noise: where the particles are at first, floats `(batch, ...)`.
        seed: optional int from 0 to 2³¹ - 1 for the fresh noise; None draws
            a seed. Not used by samplers without fresh noise.
        progress: bool. Shows a progress bar.

    Returns:
        Where the particles are in the end, float32, of the shape of `noise`.

    Raises:
        ValueError: if `noise` has no batch axis, is empty, is not floating
            or not finite, or if the network returns another shape.
    """

    draws_per_step = 1  # the fresh noises that a step may ask for

    def __init__(self, times, table):
        self.times = np.asarray(times)  # (n,)
        self.table = np.asarray(table)  # (n, k)
        self._programs = None  # a denoiser and its compiled loop

    @property
    def is_random(self):
        """Whether the result depends on the seed: whether a c is not 0."""
        return bool(self.table[:, 2].any())

    def step(self, state, now):
        """Returns the state after a step. Compiled: a tensor in, tensors out.

        Args:
            state: what `begin` returned, or the step before.
            now: the `Step`: its numbers, its network, its noise.
        """
        a, b, c = ops.unstack(now.row, 3)
        x = a * state - b * now.predict(state)
        return x + c * now.noise(state) if self.is_random else x

    def begin(self, x):
        """Returns the state before the first step; defaults to x itself.

        A sampler that carries more, such as a step size that it adapts,
        returns a tuple of tensors here.
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
        """Returns the compiled loop; the last one is kept for reuse."""
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
            rows = [times, *network.rows(times)]  # (n, ...): of each step

            def words(index, draw):
                number = index * self.draws_per_step + draw
                return seed_words(seed, stream + number)

            def step(i, state):
                return self.step(state, Step(i, network, rows, table, words))

            return ops.fori_loop(start, stop, step, state)

        return compiled(loop, getattr(field, "variables", ()))


class Sampler(SamplingLoop):
    """A loop whose samples are independent, and can be drawn in batches."""

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
        progress = check_flag("progress", progress)
        batches = self.batches(denoiser, batch_size)
        return batches.sample(num_samples, seed, progress)

    def batch_program(self, denoiser, batch_size):
        """Returns a function `(seed, k)` → batch number k of the samples."""
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


class DiffusionSampler(Sampler):
    """Runs a diffusion backwards.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》

    Visits steps t in falling order. The network predicts the noise in x_t,
    and what is mixed with the fresh noise is

        x ← a_t x - b_t ε_θ(x, t) + c_t z

    Args:
        schedule: a `NoiseSchedule` with T steps.
        times: array `(n,)`, the visited steps.
        coefficients: a_t, b_t and c_t, each a float64 array `(n,)`.

    Call arguments:
        denoiser: a callable `(x, t)` → predicted noise of the shape of `x`,
            where `t` is int32 `(batch,)` in 1, ..., T; or a `keras.Model`
            with the inputs `[x, t]`, or with the input `x` alone.
        noise: x_T, floats `(batch, ...)`, standard normal.
        seed: optional int from 0 to 2³¹ - 1 for the fresh noise; None draws
            a seed. Not used by samplers without fresh noise.
        progress: bool. Shows a progress bar.

    Returns:
        x_0, float32, of the shape of `noise`. Not clipped.

    Raises:
        ValueError: if `noise` has no batch axis, is empty, is not floating
            or not finite; or if the denoiser has a `TimestepEmbedding` of
            another number of steps than the schedule.
    """

    def __init__(self, schedule, times, coefficients):
        self.schedule = check_schedule(schedule)
        super().__init__(times, np.stack(coefficients, axis=-1))

    def vector_field(self, denoiser):
        TimestepEmbedding.check(denoiser, self.schedule.num_steps)
        return super().vector_field(denoiser)


class GradientFlow(SamplingLoop):
    """Particles that go downhill with noise, by steps of Euler and Maruyama.

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
