"""Article: https://kexue.fm/archives/6620

Article: https://kexue.fm/archives/3290
Article: https://kexue.fm/archives/8718
"""

import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy import integrate

from su_models.backend import compiled, gradient
from su_models.ops import (
    smooth_abs,
    smooth_argmax,
    smooth_floor,
    smooth_max,
    smooth_one_hot,
    smooth_relu,
)
from tests.contract import normal, to_numpy
from tests.marks import needs_float64

NUMBERS = np.array([2.0, 1.0, 4.0, 5.0, 3.0], "float32")  # the article's
FUNCTIONS = [
    smooth_max,
    smooth_one_hot,
    smooth_argmax,
    smooth_abs,
    smooth_relu,
    smooth_floor,
]
FORMS = ["softplus", "gaussian", "swish", "gelu"]


def slope(fn, x):
    return to_numpy(gradient(lambda x: ops.sum(fn(x)), x))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


# ---- reference: the equations, term by term


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_smooth_max_matches_eq_1(sharpness, axis):
    x = normal(2, 7, 3)
    total = sum(np.exp(sharpness * t) for t in np.moveaxis(x, axis, 0))
    y = to_numpy(smooth_max(x, sharpness, axis))
    np.testing.assert_allclose(y, np.log(total) / sharpness, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_smooth_one_hot_matches_eq_7(axis):
    x = normal(2, 7, 3)
    total = sum(np.exp(2 * t) for t in np.moveaxis(x, axis, 0))
    y = to_numpy(smooth_one_hot(x, 2.0, axis))
    expected = np.exp(2 * x) / np.expand_dims(total, axis)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_smooth_argmax_matches_eq_10(axis):
    x = normal(2, 7, 3)
    p = np.moveaxis(to_numpy(smooth_one_hot(x, 2.0, axis)), axis, 0)
    y = to_numpy(smooth_argmax(x, 2.0, axis))
    expected = sum(i * row for i, row in enumerate(p))
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("k", [0.5, 1.0, 3.0])
def test_smooth_abs_matches_eq_7_of_3290(k):
    x = 2 * normal(50)
    expected = np.log(np.exp(k * x) + np.exp(-k * x)) / k
    np.testing.assert_allclose(to_numpy(smooth_abs(x, k)), expected, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("t", [1.0, 2.5])
def test_smooth_relu_is_the_integral_against_the_bell(form, t):
    """The integrals of Eq. (8) to (11), by quadrature."""

    def bell(u):
        if form in ("softplus", "swish"):
            return t * sigmoid(t * u) * sigmoid(-t * u)
        return t * np.exp(-((t * u) ** 2) / 2) / np.sqrt(2 * np.pi)

    for x in (-1.3, 0.0, 0.4, 2.0):
        if form in ("softplus", "gaussian"):
            value = integrate.quad(lambda y, x=x: bell(x - y) * y, 0, 30)[0]
        else:
            value = x * integrate.quad(lambda y, x=x: bell(x - y), 0, 30)[0]
        ours = float(to_numpy(smooth_relu(x, t, form)))
        assert abs(ours - value) < 1e-6


def test_smooth_floor_matches_eq_15():
    x = np.linspace(-3.0, 3.0, 61)
    for t in (1.0, 1.01, 2.0, 10.0):
        expected = sum(sigmoid(t * (x - n)) - 1 for n in range(-60, 1))
        expected += sum(sigmoid(t * (x - n)) for n in range(1, 61))
        y = to_numpy(smooth_floor(x.astype("float32"), t))
        np.testing.assert_allclose(y, expected, atol=2e-6)


# ---- anchors and limits


def test_smooth_max_of_the_fact_sheet():
    # less 3, so that float32 holds the excess over the maximum
    x = np.array([-2.0, -1.0, 0.0, -0.1], "float32")
    excess = [to_numpy(smooth_max(x, k)) for k in (1.0, 10.0, 100.0)]
    np.testing.assert_allclose(
        excess, [0.878818181, 0.031329488, 4.54e-7], rtol=1e-3
    )


def test_smooth_argmax_of_the_articles_numbers():
    first = to_numpy(smooth_argmax(NUMBERS)) + 1  # the article counts from 1
    np.testing.assert_allclose(first, 3.733639663, rtol=1e-6)
    sharp = to_numpy(smooth_argmax(NUMBERS, 10.0)) + 1
    np.testing.assert_allclose(sharp, 3.999954604, rtol=1e-6)
    hot = to_numpy(smooth_one_hot(NUMBERS, 50.0))
    np.testing.assert_allclose(hot, [0, 0, 0, 1, 0], atol=1e-6)


def test_error_of_smooth_max_is_at_most_log_n_over_k():
    x = normal(40, 6)
    for k in (0.3, 1.0, 8.0):
        error = to_numpy(smooth_max(x, k)) - x.max(axis=-1)
        assert (error >= 0).all() and (error <= math.log(6) / k + 1e-6).all()
    equal = to_numpy(smooth_max(np.full(6, 2.5, "float32"), 2.0))
    np.testing.assert_allclose(equal, 2.5 + math.log(6) / 2, rtol=1e-6)


def test_error_of_smooth_abs_is_at_most_log_2_over_k():
    x = np.linspace(-3, 3, 25, dtype="float32")
    error = to_numpy(smooth_abs(x, 2.0)) - np.abs(x)
    assert (error > -1e-6).all() and (error <= math.log(2) / 2 + 1e-6).all()
    assert abs(error[12] - math.log(2) / 2) < 1e-6


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_extreme_inputs_have_their_exact_limits(size):
    x = np.float32(size) * np.array([-1.0, -0.25, 0.5, 1.0], "float32")
    k = 200.0
    np.testing.assert_allclose(smooth_max(x, k), size, rtol=1e-6)
    hot = to_numpy(smooth_one_hot(x, k))
    np.testing.assert_allclose(hot, [0, 0, 0, 1], atol=1e-30)
    assert to_numpy(smooth_argmax(x, k)) == 3
    np.testing.assert_allclose(to_numpy(smooth_abs(x, k)), abs(x), rtol=1e-6)
    for form in FORMS:
        y = to_numpy(smooth_relu(x, k, form))
        np.testing.assert_allclose(y, np.maximum(x, 0), rtol=1e-6, atol=1e-20)


def test_floor_is_a_staircase_without_end():
    x = np.array([-10000.5, -7.5, 0.5, 3.25, 9999.5], "float32")
    y = to_numpy(smooth_floor(x, 200.0))
    np.testing.assert_array_equal(y, np.floor(x))
    here, there = (to_numpy(smooth_floor(t, 4.0)) for t in (x[2:4], x[2:4] + 8))
    np.testing.assert_allclose(there - here, 8, atol=1e-5)


# ---- derivatives


def test_derivatives_are_those_of_the_formulas():
    x = normal(5)
    np.testing.assert_allclose(
        slope(lambda x: smooth_max(x, 3.0), x),
        to_numpy(smooth_one_hot(x, 3.0)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        slope(lambda x: smooth_abs(x, 3.0), x), np.tanh(3 * x), atol=1e-5
    )
    np.testing.assert_allclose(
        slope(lambda x: smooth_relu(x, 3.0), x), sigmoid(3 * x), rtol=1e-5
    )


def test_floor_rises_everywhere():
    x = np.linspace(-1, 1, 21, dtype="float32")
    rise = slope(lambda x: smooth_floor(x, 10.0), x)
    assert (rise > 0).all()
    # at a step the slope is that of one sigmoid, t/4
    np.testing.assert_allclose(rise[[0, 10, 20]], 2.5, rtol=1e-2)


def test_abs_has_a_second_derivative_at_zero():
    def bend(x):
        return ops.sum(gradient(lambda x: ops.sum(smooth_abs(x, 3.0)), x))

    zero = np.zeros(2, "float32")
    np.testing.assert_allclose(to_numpy(gradient(bend, zero)), 3.0, rtol=1e-5)


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_derivatives_are_finite_at_extreme_inputs(fn):
    x = np.array([-1e4, -1e4, 0.0, 1e4, 1e4], "float32")
    assert np.isfinite(slope(fn, x)).all()


# ---- dtypes, compilation, symbols, refusals


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_low_precision_comes_in_and_goes_out(fn):
    x = normal(2, 5)
    for dtype in ("float16", "bfloat16"):
        y = fn(ops.cast(x, dtype))
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        np.testing.assert_allclose(to_numpy(y), to_numpy(fn(x)), atol=0.05)


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_compiled_and_symbolic_calls_agree_with_eager_ones(fn):
    x = normal(2, 5)
    expected = to_numpy(fn(x))
    y = compiled(fn)(ops.convert_to_tensor(x))
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-5, atol=1e-5)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, fn(inputs))
    np.testing.assert_allclose(to_numpy(model(x)), expected, atol=1e-5)


@pytest.mark.parametrize("fn", FUNCTIONS)
@pytest.mark.parametrize("sharpness", [0, -1.0, math.inf, math.nan, "1", None])
def test_sharpness_must_be_above_zero(fn, sharpness):
    with pytest.raises(ValueError, match="Received: sharpness="):
        fn(NUMBERS, sharpness)


@pytest.mark.parametrize("fn", FUNCTIONS[:3])
def test_a_scalar_has_no_maximum(fn):
    with pytest.raises(ValueError, match="Received: shape="):
        fn(2.0)


def test_sharpness_may_be_a_tensor():
    k = ops.convert_to_tensor(3.0)
    for fn in FUNCTIONS[:-1]:
        np.testing.assert_allclose(
            to_numpy(fn(NUMBERS, k)), to_numpy(fn(NUMBERS, 3.0)), rtol=1e-6
        )
    with pytest.raises(ValueError, match="Received: sharpness="):
        smooth_floor(NUMBERS, k)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="Received: form='relu'"):
        smooth_relu(NUMBERS, form="relu")


@pytest.mark.parametrize(
    "function", [smooth_max, smooth_one_hot, smooth_abs, smooth_relu]
)
@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_sharpness_in_a_tensor_is_looked_at_too(function, wrong):
    sharpness = ops.convert_to_tensor([[2.0], [wrong]])
    with pytest.raises(ValueError, match="Received: sharpness="):
        function(normal(2, 3), sharpness)


def test_a_flag_is_no_sharpness():
    with pytest.raises(ValueError, match="Received: sharpness=True"):
        smooth_max(normal(3), True)


@needs_float64
def test_a_sharpness_of_another_dtype():
    x, sharpness = normal(2, 3), ops.convert_to_tensor(3.0, "float32")
    got = smooth_max(x.astype("float64"), sharpness)
    np.testing.assert_allclose(
        ops.convert_to_numpy(got), to_numpy(smooth_max(x, 3.0)), rtol=1e-5
    )
