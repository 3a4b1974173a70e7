"""Article: https://kexue.fm/archives/6621

The loop and its own gradient, beside those that the backend finds by itself
for `ONLSTMCell` in `keras.layers.RNN`.
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.backend.time_loop import has_time_loop
from su_models.layers import ONLSTMCell
from su_models.layers.recurrent.on_lstm_steps import on_lstm
from tests.contract import to_numpy
from tests.long_sums import assert_accumulated

UNITS, LEVELS, WIDTH, BATCH, LENGTH = 6, 3, 4, 3, 5
COLUMNS = 4 * UNITS + 2 * LEVELS
MASKS = {
    "none": None,
    "holes": [[0, 1, 1, 0, 1], [1, 1, 1, 0, 0], [1, 0, 0, 1, 1]],
    "nothing": [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
}

pytestmark = pytest.mark.skipif(
    not has_time_loop(), reason="PyTorch has no such loop"
)


def normal(*shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    return x.astype("float32")


def tensors(columns=COLUMNS):
    """x, h, c, kernel, recurrent kernel and bias, all at work."""
    return [
        normal(BATCH, LENGTH, WIDTH, seed=1),
        0.5 * normal(BATCH, UNITS, seed=2),
        normal(BATCH, UNITS, seed=3),
        normal(WIDTH, columns, seed=4),
        0.5 * normal(UNITS, columns, seed=5),
        normal(columns, seed=6),
    ]


def mask_of(name):
    mask = MASKS[name]
    return None if mask is None else np.array(mask, bool)


def own(
    *tensors,
    training=True,
    levels=LEVELS,
    master_input="su",
    mask=None,
    reverse=False,
):
    """Outputs (batch first), last output, last memory."""
    x, h, c, kernel, recurrent_kernel, bias = tensors
    outputs, h, c = on_lstm(
        ops.transpose(x, (1, 0, 2)),
        [h, c],
        (kernel, recurrent_kernel),
        bias,
        levels,
        master_input,
        None if mask is None else ops.convert_to_tensor(mask.T),
        reverse,
        training,
    )
    return ops.transpose(outputs, (1, 0, 2)), h, c


def plain(*tensors, levels=LEVELS, master_input="su", mask=None, reverse=False):
    """The same by Keras' loop, whose gradients are the backend's."""
    x, h, c, kernel, recurrent_kernel, bias = tensors
    cell = ONLSTMCell(UNITS, levels, master_input)

    class Step:
        state_size = cell.state_size

        def __call__(self, x, states):
            z = ops.matmul(x, kernel)
            z = z if bias is None else z + bias
            return cell.step(z, states, recurrent_kernel)

        call = __call__

    loop = keras.layers.RNN(Step(), return_sequences=True, go_backwards=reverse)
    given = None if mask is None else ops.convert_to_tensor(mask)
    _, outputs, states = loop.inner_loop(x, [h, c], given)
    if reverse:
        outputs = ops.flip(outputs, axis=1)
    if mask is not None:
        # before the first real step Keras' outputs differ among backends
        order = slice(None, None, -1 if reverse else 1)
        begun = (np.cumsum(mask[:, order], axis=1) > 0)[:, order, None]
        outputs = ops.where(begun, outputs, ops.expand_dims(h, 1))
    return outputs, *states


def scalar(loop, **options):
    """A function of the tensors in which every result counts."""
    weights = [
        normal(BATCH, LENGTH, UNITS, seed=7),
        normal(BATCH, UNITS, seed=8),
        normal(BATCH, UNITS, seed=9),
    ]

    def fn(*tensors):
        results = loop(*tensors, **options)
        parts = zip(results, weights, strict=True)
        return sum(ops.sum(y * w) for y, w in parts)

    return fn


def run(fn, *given):
    """Runs JAX compiled, which is the sooner there, and TensorFlow eagerly."""
    eager = keras.config.backend() == "tensorflow"
    given = [ops.convert_to_tensor(x) for x in given]
    return fn(*given) if eager else compiled(fn)(*given)


def assert_close(got, want, atol=1e-5):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), 1e-5, atol)


@pytest.mark.parametrize(
    ("master_input", "reverse", "mask"),
    [
        ("su", False, "none"),
        ("su", True, "holes"),
        ("paper", False, "holes"),
        ("paper", True, "nothing"),
    ],
)
def test_results_and_gradients_are_those_of_the_cell(
    master_input, reverse, mask
):
    options = {
        "master_input": master_input,
        "mask": mask_of(mask),
        "reverse": reverse,
    }
    given = tensors()

    def both(*given):
        kept = own(*given, **options)
        plainly = own(*given, **options, training=False)
        return [
            kept,
            plainly,
            plain(*given, **options),
            gradient(scalar(own, **options), *given),
            gradient(scalar(own, **options, training=False), *given),
            gradient(scalar(plain, **options), *given),
        ]

    kept, plainly, want, *gradients = run(both, *given)
    assert_close(kept, want)
    assert_close(plainly, want)
    assert_close(gradients[0], gradients[2])
    assert_close(gradients[1], gradients[2])
    assert all(np.abs(to_numpy(g)).max() > 0.1 for g in gradients[0])


def test_one_program_does_the_same():
    options = {"mask": mask_of("holes"), "reverse": True}
    fn = scalar(own, **options)
    got = compiled(lambda *given: gradient(fn, *given))(*tensors())
    assert_close(got, run(lambda *given: gradient(fn, *given), *tensors()))


@pytest.mark.parametrize("levels", [1, 2, 6])
def test_any_number_of_levels(levels):
    given = tensors(4 * UNITS + 2 * levels)
    options = {"levels": levels}
    got, want = run(
        lambda *given: [
            gradient(scalar(loop, **options), *given) for loop in (own, plain)
        ],
        *given,
    )
    assert_close(got, want)


def test_without_a_bias():
    *given, _ = tensors()

    def of(loop):
        fn = scalar(loop)
        return lambda *given: fn(*given, None)

    got, want = run(
        lambda *given: [gradient(of(loop), *given) for loop in (own, plain)],
        *given,
    )
    assert_close(got, want)


@pytest.mark.parametrize(
    ("reverse", "mask"), [(False, "none"), (True, "holes")]
)
def test_gradients_of_gradients(reverse, mask):
    options = {"mask": mask_of(mask), "reverse": reverse}

    def second(loop):
        first = scalar(loop, **options)

        def squares(*tensors):
            return sum(ops.sum(g**2) for g in gradient(first, *tensors))

        return lambda *tensors: gradient(squares, *tensors)

    got, want = run(
        lambda *given: [second(loop)(*given) for loop in (own, plain)],
        *tensors(),
    )
    for a, b in zip(got, want, strict=True):
        size = np.abs(to_numpy(b)).max()
        assert size > 0.1
        assert_close([a], [b], atol=1e-5 * size)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_are_summed_over_samples_in_float32(dtype):
    """Of n equal samples each kernel has n times the gradient of one."""
    n = 1500
    x, h, c, *weights = (ops.cast(t, dtype) for t in tensors())
    one = x[:1], h[:1], c[:1]
    many = [ops.repeat(t, n, axis=0) for t in one]

    def loss(states, weights):
        outputs, h, c = own(*states, *weights)
        parts = [ops.sum(ops.cast(y, "float32")) for y in (outputs, h, c)]
        return 16 * sum(parts)  # no gradient underflows or overflows float16

    def both(*weights):
        return [
            gradient(lambda *w, states=states: loss(states, w), *weights)
            for states in (one, many)
        ]

    for g, total in zip(*run(both, *weights), strict=True):
        g, total = (to_numpy(t).astype("float64") for t in (g, total))
        # rounded are the gradient of one sample, its double, the sum, and what
        # comes from each of five steps, where XLA may leave the rounding out
        terms = np.broadcast_to(g, (n, *g.shape))
        assert_accumulated(total, terms, dtype, roundings=8)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_near(dtype):
    given = tensors()
    fn = scalar(own, mask=mask_of("holes"))

    def both(*given):
        low = [ops.cast(x, dtype) for x in given]
        return gradient(fn, *low), gradient(fn, *given)

    for g, w in zip(*run(both, *given), strict=True):
        assert keras.backend.standardize_dtype(g.dtype) == dtype
        w = to_numpy(w)
        error = np.abs(to_numpy(g) - w).max() / np.abs(w).max()
        assert error < (0.05 if dtype == "bfloat16" else 0.01)


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX has no float64 by default"
)
def test_float64_stays_float64():
    given = [x.astype("float64") for x in tensors()]
    got, want = (
        run(
            lambda *x, kept=kept: gradient(scalar(own, training=kept), *x),
            *given,
        )
        for kept in (True, False)
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-12)
