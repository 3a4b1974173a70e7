"""Article: https://kexue.fm/archives/10373

Article: https://kexue.fm/archives/6620
"""

import functools
import itertools

import keras
import numpy as np
import pytest
from keras import ops
from scipy import optimize, special

from su_models.backend import compiled, gradient
from su_models.ops import grad_top_k, soft_k_max, thre_top_k
from tests.contract import normal, to_numpy

FORMS = ["laplace", "sigmoid", "exponential"]
THRESHOLDS = [functools.partial(thre_top_k, form=form) for form in FORMS]
PROVEN = [*THRESHOLDS, grad_top_k]
ALL = [*PROVEN, soft_k_max]
CURVES = {
    "laplace": lambda x: np.where(
        x >= 0, 1 - np.exp(-np.abs(x)) / 2, np.exp(-np.abs(x)) / 2
    ),
    "sigmoid": special.expit,
    "exponential": lambda x: np.exp(np.minimum(x, 0)),
}
X = 2 * normal(3, 7)


def name(fn):
    return getattr(fn, "keywords", {}).get("form") or fn.__name__


def each(fns):
    return pytest.mark.parametrize("fn", fns, ids=name)


def slope(fn, x, weights):
    weights = ops.convert_to_tensor(weights, dtype="float32")
    return to_numpy(gradient(lambda x: ops.sum(fn(x) * weights), x))


# ---- reference: the definitions in float64, of one row


def by_search(x, k, form):
    """Eq. (15): λ by SciPy's root finder."""
    curve = CURVES[form]
    level = optimize.brentq(
        lambda t: curve(x - t).sum() - k, x.min() - 9, x.max() + 9, xtol=1e-14
    )
    return curve(x - level)


def by_enumeration(x, k):
    """Eq. (10): every subset of k entries, one at a time."""
    z, zi = 0.0, np.zeros(len(x))
    for chosen in itertools.combinations(range(len(x)), k):
        term = np.exp(x[list(chosen)].sum())
        z += term
        zi[list(chosen)] += term
    return zi / z


def by_rounds(x, k):
    """The recursion of article 6620."""
    y, p = x - x.min(), np.zeros(len(x))
    for _ in range(k):
        p = p + special.softmax((1 - p) * y)
    return p


def reference(fn, x, k):
    x = np.asarray(x, "float64")
    if fn in THRESHOLDS:
        return by_search(x, k, **fn.keywords)
    return (by_enumeration if fn is grad_top_k else by_rounds)(x, k)


@each(ALL)
@pytest.mark.parametrize("k", [1, 3, 6])
def test_matches_the_definition(fn, k):
    expected = [reference(fn, row, k) for row in X]
    np.testing.assert_allclose(to_numpy(fn(X, k)), expected, atol=2e-6)


@each(ALL)
@pytest.mark.parametrize("k", [1, 3, 6])
def test_derivatives_match_differences_of_the_definition(fn, k):
    w = np.arange(1.0, 8.0)
    for row, ours in zip(X, slope(lambda x: fn(x, k), X, w), strict=True):
        for i, step in enumerate(1e-5 * np.eye(7)):
            ahead, back = (reference(fn, row + s, k) @ w for s in (step, -step))
            assert abs(ours[i] - (ahead - back) / 2e-5) < 1e-4


def test_grad_top_k_matches_the_recursion_of_eq_13():
    x = X[0].astype("float64")
    log_zi, log_z = x, special.logsumexp(x)
    for k in (2, 3):
        log_zi = x + np.log(np.exp(log_z) - np.exp(log_zi))
        log_z = special.logsumexp(log_zi) - np.log(k)
    expected = np.exp(log_zi - log_z)
    np.testing.assert_allclose(to_numpy(grad_top_k(X, 3))[0], expected, 1e-5)


def test_laplace_top_2_of_the_fact_sheet():
    p = to_numpy(thre_top_k([2.0, 1.0, 4.0, 5.0, 3.0], 2))
    np.testing.assert_allclose(
        p, [0.10642452, 0.03915139, 0.68208621, 0.88304605, 0.28929183], 1e-6
    )
    np.testing.assert_allclose(2.0 - np.log(2 * p[0]), 3.547172138, 1e-6)


# ---- claims of the article


@each(ALL)
def test_entries_sum_to_k(fn):
    for n, k in [(5, 5), (300, 17), (300, 250)]:
        p = to_numpy(fn(3 * normal(2, n), k))
        np.testing.assert_allclose(p.sum(axis=-1), k, rtol=1e-5)


@each(PROVEN)
def test_entries_are_monotone_and_within_0_and_1(fn):
    for k in (1, 3, 6):
        p = to_numpy(fn(np.sort(X), k))
        assert (np.diff(p) >= -1e-6).all()
        assert (p >= 0).all() and (p <= 1 + 1e-6).all()


@each(ALL)
def test_a_constant_changes_nothing(fn):
    shifted = to_numpy(fn(X + 64.0, 3))
    np.testing.assert_allclose(to_numpy(fn(X, 3)), shifted, atol=2e-5)


@each(ALL)
def test_sharp_entries_are_the_k_hot_vector(fn):
    hot = np.zeros(X.shape)
    np.put_along_axis(hot, np.argsort(X)[:, -3:], 1.0, axis=-1)
    for sharpness in (1e3, 1e6):
        p = to_numpy(fn(X, 3, sharpness=sharpness))
        np.testing.assert_allclose(p, hot, atol=1e-6)


@each([THRESHOLDS[2], grad_top_k, soft_k_max])
def test_top_1_is_softmax(fn):
    expected = special.softmax(X, axis=-1)
    np.testing.assert_allclose(to_numpy(fn(X, 1)), expected, atol=1e-6)


def test_laplace_top_1_is_softmax_up_to_one_half():
    x = X / 4
    expected = special.softmax(x, axis=-1)
    assert expected.max() < 0.5
    np.testing.assert_allclose(to_numpy(thre_top_k(x, 1)), expected, atol=1e-6)
    # above, with r the weight of the others: 1 - √r/2 in place of 1/(1 + r)
    p = to_numpy(thre_top_k([0.0, 0.0, 4.0], 1))[2]
    np.testing.assert_allclose(p, 1 - np.exp(-2) / np.sqrt(2), rtol=1e-6)


def test_the_weighted_softmax_that_the_article_warns_of_is_not_used():
    # its limit is 1.5, 0.5, 0 ...
    for fn in ALL:
        p = to_numpy(fn([3.0, 2.0, 1.0, 0.0, -1.0], 2, sharpness=50.0))
        np.testing.assert_allclose(p, [1, 1, 0, 0, 0], atol=1e-4)


@each(THRESHOLDS)
def test_all_entries_may_lie_above_the_threshold(fn):
    # m = n, for which the article's search does not look
    x = np.zeros(7, "float32")
    np.testing.assert_allclose(to_numpy(fn(x, 6)), 6 / 7, atol=1e-6)


@each(PROVEN)
def test_ties_share(fn):
    p = to_numpy(fn([2.0, 0.0, 2.0, 2.0, -1.0, -2.0, -4.0], 3))
    np.testing.assert_allclose(p[[0, 2]], p[3], rtol=1e-6)


@each(PROVEN)
def test_inputs_far_apart_are_exact_and_differentiable(fn):
    x = np.array([1e4, -1e4, 1e4, -1e4, 1e4, -1e4, -1e4], "float32")
    np.testing.assert_allclose(to_numpy(fn(x, 3)), x > 0, atol=1e-6)
    for k in (1, 3, 6):
        assert np.isfinite(to_numpy(fn(x, k))).all()
        assert np.isfinite(slope(lambda x, k=k: fn(x, k), x, x)).all()


# ---- dtypes, axes, compilation, refusals


@each(ALL)
def test_any_axis(fn):
    rows = to_numpy(fn(X, 3))
    columns = to_numpy(fn(X.T[None], 3, axis=1))
    np.testing.assert_allclose(columns, rows.T[None], atol=1e-6)


@each(ALL)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_comes_in_and_goes_out(fn, dtype):
    p = fn(ops.cast(X, dtype), 3)
    assert keras.backend.standardize_dtype(p.dtype) == dtype
    np.testing.assert_allclose(to_numpy(p), to_numpy(fn(X, 3)), atol=0.02)


@each(ALL)
def test_compiled_and_symbolic_calls_agree_with_eager_ones(fn):
    expected = to_numpy(fn(X, 3))

    def both(x):
        g = gradient(lambda x: ops.sum(fn(x, 3) ** 2), x)
        return fn(x, 3), g

    p, g = compiled(both)(ops.convert_to_tensor(X))
    np.testing.assert_allclose(to_numpy(p), expected, atol=1e-6)
    assert np.isfinite(to_numpy(g)).all() and to_numpy(g).any()
    inputs = keras.Input((7,))
    model = keras.Model(inputs, fn(inputs, 3))
    np.testing.assert_allclose(to_numpy(model(X)), expected, atol=1e-6)


@each(ALL)
@pytest.mark.parametrize("k", [0, 6, 2.0, True, None])
def test_k_must_be_an_integer_from_1_to_n(fn, k):
    with pytest.raises(ValueError, match="from 1 to 5. Received: k="):
        fn(normal(5), k)


@each(ALL)
def test_other_bad_input_is_refused(fn):
    with pytest.raises(ValueError, match="Received: sharpness=0"):
        fn(normal(5), 2, sharpness=0)
    with pytest.raises(ValueError, match="Received: shape="):
        fn(1.0, 1)
    with pytest.raises(ValueError, match="must be known. Received: shape="):
        fn(keras.Input((None,)), 2)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="Received: form='tanh'"):
        thre_top_k(normal(5), 2, form="tanh")


@pytest.mark.parametrize("function", ALL)
def test_nan_is_seen(function):
    x = normal(3, 5)
    x[1, 2] = np.nan
    p = to_numpy(function(x, 2))
    assert np.isnan(p[1]).any() and np.isfinite(p[[0, 2]]).all()


@pytest.mark.parametrize("function", ALL)
def test_numpy_k_is_an_integer(function):
    np.testing.assert_array_equal(
        to_numpy(function(normal(5), np.int64(2))),
        to_numpy(function(normal(5), 2)),
    )
