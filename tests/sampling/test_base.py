"""Article: https://kexue.fm/archives/9119"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import TimestepEmbedding
from su_models.sampling import DDIM, DDPM, NoiseSchedule
from su_models.sampling.base import DiffusionSampler, Sampler, SamplingLoop
from tests.sampling.oracle import GaussianDenoiser, normal, output_variance

SCHEDULE = NoiseSchedule.author(12)
SAMPLERS = [DDPM(SCHEDULE), DDIM(SCHEDULE, stride=3, eta=0.7)]


def small_denoiser():
    keras.utils.set_random_seed(1)
    x, t = keras.Input((4, 4, 1)), keras.Input((), dtype="int32")
    step = keras.layers.Embedding(13, 16)(t)
    step = keras.layers.Dropout(0.5)(step)  # must be off while sampling
    y = keras.layers.Add()([keras.layers.Reshape((4, 4, 1))(step), x])
    y = keras.layers.Conv2D(1, 3, padding="same")(y)
    y = keras.layers.Dropout(0.5)(y)  # and this
    return keras.Model([x, t], y)


def numpy_loop(sampler, model, x):
    """The update of `DiffusionSampler`, step by step, without noise."""
    for t, (a, b, _) in zip(sampler.times, sampler.table, strict=True):
        steps = np.full(len(x), t, "int32")
        x = a * x - b * ops.convert_to_numpy(model([x, steps]))
    return x


def test_model_in_the_loop_equals_step_by_step():
    sampler, model, x = (
        DDIM(SCHEDULE, stride=2),
        small_denoiser(),
        normal(3, 4, 4, 1),
    )
    y = ops.convert_to_numpy(sampler(model, x))
    np.testing.assert_allclose(y, numpy_loop(sampler, model, x), atol=1e-5)


class Witness(keras.layers.Layer):
    """Tells the shapes of what passes."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def call(self, inputs):
        self.tell(tuple(inputs.shape))
        return inputs


def test_what_needs_the_step_alone_is_computed_once():
    x, t = keras.Input((4, 4, 1)), keras.Input((), dtype="int32")
    of_step, of_image = [], []
    step = Witness(of_step.append)(keras.layers.Embedding(13, 16)(t))
    step = keras.layers.Reshape((4, 4, 1))(step)
    y = keras.layers.Concatenate()([x, step])
    y = Witness(of_image.append)(keras.layers.Conv2D(1, 3, padding="same")(y))
    model, sampler, x = (
        keras.Model([x, t], y),
        DDIM(SCHEDULE),
        normal(3, 4, 4, 1),
    )
    y = ops.convert_to_numpy(sampler(model, x))
    # for all 12 steps at once, not in each for the 3 images
    assert (12, 16) in of_step and (3, 16) not in of_step
    assert (3, 4, 4, 1) in of_image
    np.testing.assert_allclose(y, numpy_loop(sampler, model, x), atol=1e-5)


class Subclassed(keras.Model):
    """No graph to look into."""

    def __init__(self):
        super().__init__()
        self.gain = keras.layers.Embedding(13, 1)

    def call(self, inputs):
        x, t = inputs
        return x * self.gain(t)


def test_subclassed_model_in_the_loop():
    sampler, model, x = DDIM(SCHEDULE, stride=2), Subclassed(), normal(3, 4)
    y = ops.convert_to_numpy(sampler(model, x))
    np.testing.assert_allclose(y, numpy_loop(sampler, model, x), atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_progress_changes_nothing(sampler, capsys):
    model, x = small_denoiser(), normal(3, 4, 4, 1)
    quiet = ops.convert_to_numpy(sampler(model, x, seed=5))
    assert capsys.readouterr().out == ""
    shown = ops.convert_to_numpy(sampler(model, x, seed=5, progress=True))
    n = len(sampler.times)
    assert f"{n}/{n}" in capsys.readouterr().out
    np.testing.assert_array_equal(quiet, shown)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seed_decides_the_fresh_noise(sampler):
    denoiser, x = GaussianDenoiser(SCHEDULE), normal(2, 8)
    draws = [
        ops.convert_to_numpy(sampler(denoiser, x, seed=s)) for s in (5, 5, 6)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()
    unseeded = [ops.convert_to_numpy(sampler(denoiser, x)) for _ in range(2)]
    assert (unseeded[0] != unseeded[1]).all()


def test_new_weights_are_seen():
    sampler, model, x = (
        DDIM(SCHEDULE, stride=4),
        small_denoiser(),
        normal(2, 4, 4, 1),
    )
    before = ops.convert_to_numpy(sampler(model, x))
    model.set_weights([2 * w for w in model.get_weights()])
    after = ops.convert_to_numpy(sampler(model, x))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, numpy_loop(sampler, model, x), atol=1e-5)


def test_first_samples_do_not_depend_on_how_many_are_drawn():
    sampler, model = DDPM(SCHEDULE), small_denoiser()
    few = sampler.sample(model, 3, seed=2, batch_size=4)
    many = sampler.sample(model, 10, seed=2, batch_size=4)
    assert few.shape == (3, 4, 4, 1) and many.shape == (10, 4, 4, 1)
    np.testing.assert_array_equal(few, many[:3])
    assert len(np.unique(many[:, 0, 0, 0])) == 10
    other = sampler.sample(model, 3, seed=3, batch_size=4)
    assert (other != few).all()


def test_samples_start_from_standard_normal_noise():
    def nothing(x, t):
        return ops.zeros_like(x)

    sampler = DDIM(SCHEDULE)
    nothing.inputs = [keras.KerasTensor((None, 64, 64))]
    x = sampler.sample(nothing, 8, batch_size=4) * SCHEDULE.bar_alpha[12]
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02


class Silent:
    """Predicts no noise: x_0 is a known sum of x_T and the fresh noises."""

    inputs = (keras.Input((1024,)), keras.Input((), dtype="int32"))

    def __call__(self, x, t):
        return ops.zeros_like(x)


def drawn_noise(sampler):
    """x_T and the fresh part of x_0 of two batches, each of one entry a row.

    DDIM without fresh noise scales x_T by the same factor, 1/ᾱ_T.
    """
    arguments = {"num_samples": 128, "seed": 4, "batch_size": 64}
    x = sampler.sample(Silent(), **arguments).reshape(2, -1)
    x_t = DDIM(SCHEDULE).sample(Silent(), **arguments).reshape(2, -1)
    return x_t * SCHEDULE.bar_alpha[-1], x - x_t


@pytest.mark.parametrize("sampler", [DDPM(SCHEDULE), DDIM(SCHEDULE, eta=1.0)])
def test_variance_is_the_sum_of_squares_of_independent_noises(sampler):
    a, _, c = sampler.table.T
    later = np.append(np.cumprod(a[:0:-1])[::-1], 1.0)  # a of later steps
    x_t, fresh = drawn_noise(sampler)
    for got, variance in (
        (x_t, 1.0),
        (fresh, ((later * c) ** 2).sum()),
        (
            x_t / SCHEDULE.bar_alpha[-1] + fresh,
            a.prod() ** 2 + ((later * c) ** 2).sum(),
        ),
    ):
        tolerance = 5 * np.sqrt(2 / got.size)
        np.testing.assert_allclose(got.var(), variance, rtol=tolerance)


@pytest.mark.parametrize("sampler", [DDPM(SCHEDULE), DDIM(SCHEDULE, eta=1.0)])
def test_batches_share_neither_start_nor_fresh_noise(sampler):
    rows = np.concatenate(drawn_noise(sampler))  # x_T, x_T, fresh, fresh
    correlation = np.corrcoef(rows)
    tolerance = 5 / np.sqrt(rows.shape[1])
    np.testing.assert_allclose(correlation, np.eye(4), atol=tolerance)


class Corrected(DiffusionSampler):
    """DDPM, and one step of Langevin dynamics at each time it arrives at.

    Article: https://kexue.fm/archives/9209 (its predictor and corrector)
    """

    draws_per_step = 2
    size = 0.05  # of the corrector, times β̄²

    def __init__(self, schedule):
        ddpm = DDPM(schedule)
        earlier = np.append(ddpm.times[1:], 0)
        bar_beta = schedule.bar_beta[earlier]  # 0 at the end: no correction
        columns = [*ddpm.table.T, self.size * bar_beta, bar_beta]
        super().__init__(schedule, ddpm.times, columns)

    def step(self, state, now):
        a, b, c, drift, spread = ops.unstack(now.row, 5)
        x = a * state - b * now.predict(state) + c * now.noise(state)
        there = ops.minimum(now.index + 1, len(self.times) - 1)
        # the score is -ε_θ/β̄, the size of the step 0.05 β̄²
        x = x - drift * now.predict(x, there)
        return x + spread * (2 * self.size) ** 0.5 * now.noise(x, 1)


def test_a_step_may_ask_the_network_again_elsewhere_and_draw_twice():
    sampler = Corrected(SCHEDULE)
    denoiser = GaussianDenoiser(SCHEDULE, 0.25)
    x = ops.convert_to_numpy(sampler(denoiser, normal(64, 2048), seed=3))
    variance = 1.0
    gain = denoiser.gain
    for i, (a, b, c, drift, spread) in enumerate(sampler.table):
        t, there = sampler.times[[i, min(i + 1, 11)]]
        variance = (a - b * gain[t]) ** 2 * variance + c**2
        variance = (1 - drift * gain[there]) ** 2 * variance
        variance += 2 * sampler.size * spread**2
    tolerance = 5 * np.sqrt(2 / x.size)
    np.testing.assert_allclose(x.var(), variance, rtol=tolerance)
    # the corrector matters: without it another variance comes out
    assert abs(output_variance(DDPM(SCHEDULE), 0.25) / variance - 1) > 0.03


def test_draws_of_a_step_and_of_batches_all_differ():
    class Draws(Sampler):
        draws_per_step = 2
        is_random = True

        def begin(self, x):
            return x, ops.zeros((4, *x.shape))  # x_T and what is drawn

        def step(self, state, now):
            x, drawn = state
            number = 2 * now.index + ops.arange(4)[:, None, None] * 0
            for k in (0, 1):
                here = ops.arange(4)[:, None, None] == number + k
                drawn = drawn + ops.cast(here, "float32") * now.noise(x, k)
            return x, drawn

        def end(self, state):
            return ops.concatenate([state[0], *state[1]], axis=-1)

    def silent(x, t):
        return x

    silent.inputs = [keras.KerasTensor((None, 512))]
    sampler = Draws(times=np.arange(2), table=np.zeros((2, 3)))
    rows = sampler.sample(silent, 4, seed=1, batch_size=2)  # two batches
    rows = rows.reshape(4 * 5, 512)
    correlation = np.corrcoef(rows)
    np.testing.assert_allclose(correlation, np.eye(20), atol=5 / 512**0.5)


class Adaptive(SamplingLoop):
    """Heun's method for dx/dt = f(x, t), its step chosen by its error."""

    is_random = False

    def __init__(self, times, tolerance):
        self.tolerance = tolerance
        super().__init__(times[:-1], np.array(times)[1:, None])

    def begin(self, x):
        return x, ops.full((), 1e-3), ops.zeros((), "int32")

    def end(self, state):
        self.evaluations = int(state[2])
        return state[0]

    def step(self, state, now):
        end = now.row[0]

        def unfinished(t, x, h, count):
            return t < end

        def attempt(t, x, h, count):
            h_now = ops.minimum(h, end - t)
            k1 = now.predict_at(x, t)
            k2 = now.predict_at(x + h_now * k1, t + h_now)
            error = ops.max(ops.abs(k2 - k1)) * h_now / 2
            good = error <= self.tolerance
            t_new = ops.where(h <= end - t, t + h_now, end)
            t = ops.where(good, t_new, t)
            x = ops.where(good, x + h_now * (k1 + k2) / 2, x)
            scale = ops.sqrt(self.tolerance / ops.maximum(error, 1e-12))
            return t, x, h_now * ops.clip(0.9 * scale, 0.2, 5.0), count + 2

        x, h, count = state
        state = ops.while_loop(unfinished, attempt, (now.time, x, h, count))
        return state[1:]


@pytest.mark.parametrize("progress", [False, True])
def test_a_step_may_integrate_with_steps_of_its_own_choice(progress):
    def slope(x, t):  # x(1) = x(0) exp(2 sin 3)
        return 6.0 * ops.cos(3.0 * t)[:, None] * x

    counts, x = [], normal(3, 4)
    for tolerance in (1e-3, 1e-5):
        loop = Adaptive(np.linspace(0, 1, 5), tolerance)
        y = ops.convert_to_numpy(loop(slope, x, progress=progress))
        expected = x * np.exp(2 * np.sin(3.0))
        np.testing.assert_allclose(y, expected, atol=300 * tolerance)
        counts.append(loop.evaluations)
    # of second order: the steps are √100 times as many
    assert 6 < counts[1] / counts[0] < 14


@pytest.mark.parametrize("denoiser", [3, None, "net"])
def test_what_cannot_be_called_is_refused(denoiser):
    with pytest.raises(ValueError, match="`denoiser` must .*Received: "):
        DDPM(SCHEDULE)(denoiser, normal(2, 8))


@pytest.mark.parametrize("sampler", [DDPM, DDIM])
@pytest.mark.parametrize("schedule", [3, None])
def test_what_is_no_schedule_is_refused(sampler, schedule):
    with pytest.raises(ValueError, match="`schedule` must .*Received: "):
        sampler(schedule)


@pytest.mark.parametrize("progress", ["no", 1, None])
def test_progress_that_is_no_flag_is_refused(progress):
    with pytest.raises(ValueError, match="`progress` must .*Received: "):
        DDPM(SCHEDULE)(lambda x, t: x, normal(2, 8), progress=progress)
    with pytest.raises(ValueError, match="`progress` must .*Received: "):
        DDPM(SCHEDULE).sample(small_denoiser(), 2, progress=progress)


def test_numpy_counts_are_counts():
    sampler, model = DDIM(SCHEDULE, stride=np.int64(3)), small_denoiser()
    a = sampler.sample(
        model, np.int32(3), seed=np.int64(1), batch_size=np.int64(2)
    )
    b = DDIM(SCHEDULE, stride=3).sample(model, 3, seed=1, batch_size=2)
    np.testing.assert_array_equal(a, b)
    assert type(sampler.stride) is int


@pytest.mark.parametrize(
    "noise, match",
    [
        (np.zeros((0, 8), "float32"), r"Received: .*\(0, 8\)"),
        (np.float32(1), r"Received: .*shape=\(\)"),
        (np.zeros((2, 8), "int32"), "Received: dtype=int32"),
        (np.array([[np.nan]], "float32"), "Received: NaN"),
        (np.array([[np.inf]], "float32"), "Received: NaN or inf"),
    ],
)
def test_bad_noise_is_refused(noise, match):
    with pytest.raises(ValueError, match=match):
        DDPM(SCHEDULE)(GaussianDenoiser(SCHEDULE), noise)


@pytest.mark.parametrize(
    "seed", [-1, 0.5, 2**31, True, float("nan"), float("inf"), "a"]
)
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        DDPM(SCHEDULE)(GaussianDenoiser(SCHEDULE), normal(2, 8), seed=seed)


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"Received: shape=\(2, 1\)"):
        DDPM(SCHEDULE)(lambda x, t: x[:, :1], normal(2, 8), seed=0)


def test_no_seed_for_samples_is_refused():
    with pytest.raises(ValueError, match="Received: seed=None"):
        DDPM(SCHEDULE).sample(small_denoiser(), 2, seed=None)


@pytest.mark.parametrize(
    "n", [0, 2.5, True, float("nan"), float("inf"), "a", None]
)
@pytest.mark.parametrize("name", ["num_samples", "batch_size"])
def test_bad_counts_are_refused(name, n):
    counts = {"num_samples": 2, "batch_size": 2, name: n}
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}={n!r}"):
        DDPM(SCHEDULE).sample(small_denoiser(), **counts)


def stepwise_denoiser(num_steps):
    x, t = keras.Input((4,)), keras.Input((), dtype="int32")
    table = TimestepEmbedding(num_steps, 4)
    inner = keras.Model([x, t], keras.layers.Add()([x, table(t)]))
    return keras.Model([x, t], inner([x, t]))


@pytest.mark.parametrize("num_steps", [10, 13])
def test_denoiser_with_another_number_of_steps_is_refused(num_steps):
    match = f"num_steps=12. Received: denoiser with num_steps={num_steps}"
    model = stepwise_denoiser(num_steps)
    with pytest.raises(ValueError, match=match):
        DDIM(SCHEDULE, stride=3)(model, normal(2, 4))
    with pytest.raises(ValueError, match=match):
        DDIM(SCHEDULE, stride=3).sample(model, 2)


def test_denoiser_with_as_many_steps_is_sampled():
    model, x = stepwise_denoiser(12), normal(2, 4)
    sampler = DDIM(SCHEDULE, stride=3)
    y = ops.convert_to_numpy(sampler(model, x))
    np.testing.assert_allclose(y, numpy_loop(sampler, model, x), atol=1e-5)
