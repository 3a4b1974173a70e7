"""`time_loop` against sums and products of NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.backend.time_loop import has_time_loop, time_loop
from tests.contract import normal, to_numpy

needs_loop = pytest.mark.skipif(
    not has_time_loop(), reason="PyTorch's loops are written in Python"
)
both_ways = pytest.mark.parametrize("reverse", [False, True])


def step(states, inputs):
    """Sums of x times y; what was summed before is an output."""
    (total,), (x, y) = states, inputs["pair"]
    return (total + x * y,), {"before": (total,), "twice": 2.0 * x}


def run(x, y, first, reverse):
    return time_loop(step, {"pair": (x, y)}, (first,), reverse)


@needs_loop
@both_ways
@pytest.mark.parametrize("jit", [False, True])
def test_nested_tensors_go_in_and_come_out(reverse, jit):
    x, y, first = normal(7, 2, 3), normal(7, 2, 1) + 1.0, normal(2, 3)
    loop = compiled(run_backwards if reverse else run_forwards)
    (total,), outputs = loop(x, y, first) if jit else run(x, y, first, reverse)
    order = slice(None, None, -1 if reverse else 1)
    sums = first + np.cumsum((x * y)[order], axis=0)
    before = np.concatenate([first[None], sums[:-1]])[order]
    np.testing.assert_allclose(to_numpy(total), sums[-1], atol=1e-5)
    got = to_numpy(outputs["before"][0])
    np.testing.assert_allclose(got, before, atol=1e-5)
    np.testing.assert_allclose(to_numpy(outputs["twice"]), 2 * x, atol=1e-6)


def run_forwards(x, y, first):
    return run(x, y, first, False)


def run_backwards(x, y, first):
    return run(x, y, first, True)


@needs_loop
@both_ways
def test_gradients_compile_to_second_order(reverse):
    x, first = normal(5, 2) + 2.0, normal(2)

    def product(x):
        def step(total, x):
            return total * x, total

        last, before = time_loop(step, x, ops.add(first, 0.0), reverse)
        return ops.sum(last) + 0.0 * ops.sum(before)

    def squares(x):
        return ops.sum(gradient(product, x) ** 2)

    got = to_numpy(compiled(lambda x: gradient(squares, x))(x))
    # of Σ_t (P / x_t)² the gradient by x_s: what has x_s in it, twice, / x_s
    terms = (first * x.prod(axis=0) / x) ** 2
    want = 2 * (terms.sum(axis=0) - terms) / x
    np.testing.assert_allclose(got, want, rtol=1e-4)


@needs_loop
def test_the_length_may_be_unknown():
    x = keras.Input((4,), batch_size=None)  # (length, 4)
    model = keras.Model(x, Total()(x))
    for n in (3, 5):
        values = normal(n, 4)
        got = to_numpy(model(values))
        np.testing.assert_allclose(got, values.sum(axis=0), atol=1e-5)
        got = model.predict_on_batch(values)
        np.testing.assert_allclose(got, values.sum(axis=0), atol=1e-5)


class Total(keras.layers.Layer):
    def call(self, x):
        def step(total, x):
            return total + x, ()

        return time_loop(step, x, ops.zeros(4))[0]

    def compute_output_shape(self, shape):
        return shape[1:]


@pytest.mark.skipif(has_time_loop(), reason="there it runs")
def test_pytorch_is_refused():
    with pytest.raises(NotImplementedError, match="`time_loop` needs"):
        run_forwards(normal(2, 1), normal(2, 1), normal(1))
