"""Article: https://kexue.fm/archives/6910"""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.ops import hsic, normalized_hsic
from tests.contract import normal, to_numpy
from tests.marks import only_tensorflow

ROOT = pathlib.Path(__file__).parent.parent.parent
ESTIMATORS = ["biased", "gretton", "unbiased"]
X, Y = normal(12, 3), normal(12, 5)[:, 1:3] + 0.5 * normal(12, 3)[:, :2]


def squares(x):
    """Squared distances, one pair at a time."""
    x = np.asarray(x, "float64").reshape(len(x), -1)
    return np.array([[((a - b) ** 2).sum() for b in x] for a in x])


def by_hand(x, y, sigma, estimator):
    """Eq. (16), Eq. (17) and Song's estimator, with whole matrices."""
    n = len(x)
    k, l = (np.exp(-squares(z) / sigma**2) for z in (x, y))  # noqa: E741
    if estimator == "unbiased":
        a, b = (m * (1 - np.eye(n)) for m in (k, l))
        total = np.trace(a @ b) + a.sum() * b.sum() / (n - 1) / (n - 2)
        total -= 2 * (a @ b).sum() / (n - 2)
        return total / n / (n - 3)
    j = np.eye(n) - 1 / n
    return np.trace(k @ j @ l @ j) / (n - (estimator == "gretton")) ** 2


# ---- reference


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_matches_the_matrix_form(estimator, sigma):
    ours = to_numpy(hsic(X, Y, sigma, estimator))
    expected = by_hand(X, Y, sigma, estimator)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-7)


def test_matches_the_expectations_of_eq_13():
    """Means over one, two and three independent samples, term by term."""
    n = len(X)
    k, l = (np.exp(-squares(z)) for z in (X, Y))  # noqa: E741
    pairs = sum(k[i, j] * l[i, j] for i in range(n) for j in range(n)) / n**2
    apart = k.mean() * l.mean()
    mixed = sum(
        k[i, j] * l[i, m] for i in range(n) for j in range(n) for m in range(n)
    )
    expected = pairs + apart - 2 * mixed / n**3
    np.testing.assert_allclose(to_numpy(hsic(X, Y, 1.0)), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(11, 3), (12, 3), (12,)])
def test_sigma_is_the_median_of_the_distances(shape):
    x, y = normal(*shape), normal(*shape, 2)[..., 1]
    n = len(x)
    pair = []
    for z in (x, y):
        d = np.sqrt(squares(z))[np.triu_indices(n, 1)]
        pair.append(float(np.sqrt(2) * np.median(d)))
    ours = to_numpy(hsic(x, y))
    np.testing.assert_allclose(ours, to_numpy(hsic(x, y, pair)), rtol=1e-4)
    mixed = to_numpy(hsic(x, y, (None, pair[1])))
    np.testing.assert_allclose(ours, mixed, rtol=1e-4)


def test_normalized_form_matches_the_definition():
    n, whitened = len(X), []
    for z in (X, Y):
        j = np.eye(n) - 1 / n
        k = j @ np.exp(-squares(z) / 4) @ j
        whitened.append(k @ np.linalg.inv(k + 0.01 * n * np.eye(n)))
    expected = np.trace(whitened[0] @ whitened[1])
    ours = to_numpy(normalized_hsic(X, Y, 2.0, epsilon=0.01))
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    assert 0 < ours < n - 1


# ---- anchors


@pytest.mark.parametrize(
    ("estimator", "value"),
    [
        ("gretton", 0.0371638223),
        ("biased", 0.0258082099),
        ("unbiased", 0.0296628750),
    ],
)
def test_parabola_of_the_fact_sheet(estimator, value):
    x = np.arange(6, dtype="float32") / 5
    ours = to_numpy(hsic(x, x**2, 1.0, estimator))
    np.testing.assert_allclose(ours, value, rtol=1e-5)


def test_the_articles_experiment():
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, 1000)).astype("float32")
    independent = to_numpy(hsic(x, noise, 1.0, "gretton"))
    dependent = to_numpy(hsic(x, x + 0.1 * noise, 1.0, "gretton"))
    assert 1e-4 < independent < 6e-4  # the article: about 0.0002
    assert abs(dependent - 0.0944130510) < 4e-3  # of the whole population


# ---- claims


def test_only_songs_estimator_is_unbiased():
    """D13: the mean of Eq. (17) for independent N(0, 1), n = 20, is 0.016."""
    random = np.random.default_rng(0)
    draws = random.normal(size=(100, 2, 20)).astype("float32")
    means = {
        name: np.mean([by_hand(x, y, 1.0, name) for x, y in draws])
        for name in ("gretton", "unbiased")
    }
    ours = np.mean(
        [to_numpy(hsic(x, y, 1.0, "unbiased")) for x, y in draws[:10]]
    )
    np.testing.assert_allclose(
        ours,
        np.mean([by_hand(x, y, 1.0, "unbiased") for x, y in draws[:10]]),
        atol=1e-6,
    )
    assert abs(means["gretton"] - 0.016) < 2e-3
    assert abs(means["unbiased"]) < 2e-3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_symmetry_and_invariance(estimator):
    value = to_numpy(hsic(X, Y, 1.0, estimator))
    for other in (
        hsic(Y, X, 1.0, estimator),
        hsic(X + 100.0, Y - 100.0, 1.0, estimator),
        hsic(X[::-1].copy(), Y[::-1].copy(), 1.0, estimator),
        hsic(3 * X, Y, (3.0, 1.0), estimator),
        hsic(X.reshape(12, 3, 1), Y, 1.0, estimator),
    ):
        np.testing.assert_allclose(to_numpy(other), value, rtol=1e-3)


def test_a_wide_kernel_is_the_covariance():
    # exp(-d²/σ²) → 1 - d²/σ²: 4 ‖cov‖² / σ⁴
    x, y = X.astype("float64"), Y.astype("float64")
    cov = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
    sigma = 40.0
    ours = to_numpy(hsic(X, Y, sigma)) * sigma**4 / 4
    np.testing.assert_allclose(ours, (cov**2).sum(), rtol=0.02)


def test_equal_samples_are_independent_of_all():
    x = np.ones((12, 2), "float32")
    for estimator in ESTIMATORS:  # σ too is of a median of 0
        np.testing.assert_allclose(to_numpy(hsic(x, Y, None, estimator)), 0)


# ---- blocks


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_blocks_change_nothing(estimator, monkeypatch):
    module = sys.modules["su_models.ops.hsic"]
    whole = to_numpy(hsic(X, Y, 1.5, estimator))
    g = to_numpy(gradient(lambda x: hsic(x, Y, 1.5, estimator), X))
    monkeypatch.setattr(module, "_BLOCK", 12 * 5)
    assert len(module._blocks(ops.convert_to_tensor(X))) == 3
    np.testing.assert_allclose(
        to_numpy(hsic(X, Y, 1.5, estimator)), whole, rtol=1e-5
    )
    parts = to_numpy(gradient(lambda x: hsic(x, Y, 1.5, estimator), X))
    np.testing.assert_allclose(parts, g, atol=1e-7)


def test_the_median_by_histograms_is_that_by_sorting(monkeypatch):
    module = sys.modules["su_models.ops.hsic"]
    x = normal(150, 2) ** 3  # a long tail
    y = x[:, 0] + normal(150)
    sorted_ = to_numpy(hsic(x, y))
    monkeypatch.setattr(module, "_SORTED", 10)
    monkeypatch.setattr(module, "_BLOCK", 150 * 40)
    np.testing.assert_allclose(to_numpy(hsic(x, y)), sorted_, rtol=1e-4)
    fast = compiled(hsic)(*map(ops.convert_to_tensor, (x, y)))
    np.testing.assert_allclose(to_numpy(fast), sorted_, rtol=1e-4)
    np.testing.assert_array_equal(to_numpy(hsic(np.ones(150), y)), 0)


MEMORY = """
import resource, sys
import numpy as np
from su_models.ops import hsic

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

x = np.random.default_rng(0).normal(size=(20_000, 10)).astype("float32")
y = x[:, :3] ** 2
hsic(x[:50], y[:50])  # the backend has started
idle = peak()
value = float(hsic(x, y, estimator="unbiased"))
print(value, idle, peak())
"""


@pytest.mark.slow
def test_20_000_samples_fit_in_1_gb():
    """The kernel matrices alone would be 3.2 GB."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    value, idle, peak = map(float, run.stdout.split()[-3:])
    print(f"idle {idle:.0f} MB, peak {peak:.0f} MB")
    assert 0 < value < 1
    assert peak - idle < 1024


# ---- derivatives, compilation, refusals


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradient_matches_differences(estimator):
    g = to_numpy(gradient(lambda x: hsic(x, Y, 1.5, estimator), X))
    for i, j in ((0, 0), (3, 1), (11, 2)):
        step = np.zeros(X.shape)
        step[i, j] = 1e-4
        ahead, back = (by_hand(X + s, Y, 1.5, estimator) for s in (step, -step))
        assert abs(g[i, j] - (ahead - back) / 2e-4) < 1e-6


def test_gradient_of_the_normalized_form_is_finite_under_xla():
    def both(x):
        return normalized_hsic(x, Y), gradient(
            lambda x: normalized_hsic(x, Y), x
        )

    value, g = compiled(both)(ops.convert_to_tensor(X))
    expected = to_numpy(normalized_hsic(X, Y))
    np.testing.assert_allclose(to_numpy(value), expected, rtol=1e-3)
    assert np.isfinite(to_numpy(g)).all() and to_numpy(g).any()


def test_enters_fit_through_add_loss():
    class Independent(keras.layers.Layer):
        """Its output is made independent of the first feature."""

        def call(self, x, y):
            self.add_loss(hsic(y, x[:, :1]))
            return y

    inputs = keras.Input((3,))
    y = keras.layers.Dense(1, kernel_initializer="ones")(inputs)
    net = keras.Model(inputs, Independent()(inputs, y))
    net.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    x = normal(40, 3)  # of two sizes of batches
    history = net.fit(x, batch_size=32, epochs=25, verbose=0).history["loss"]
    assert history[-1] < history[0] / 2


def test_low_precision_and_integers_come_in():
    expected = to_numpy(hsic(X, Y, 1.0))
    half = to_numpy(hsic(ops.cast(X, "float16"), ops.cast(Y, "float16"), 1.0))
    np.testing.assert_allclose(half, expected, rtol=0.02)
    labels = np.arange(12) % 3
    expected = to_numpy(hsic(X, labels.astype("float32"), 1.0))
    np.testing.assert_allclose(to_numpy(hsic(X, labels, 1.0)), expected)


@pytest.mark.parametrize("sigma", [0, -1.0, np.nan, "1", (1.0,), True])
def test_sigma_must_be_above_zero(sigma):
    for fn in (hsic, normalized_hsic):
        with pytest.raises(ValueError, match="Received: sigma="):
            fn(X, Y, sigma)


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="Received: estimator='song'"):
        hsic(X, Y, estimator="song")
    for x, y in ((X, Y[:5]), (X[:1], Y[:1]), (1.0, 2.0)):
        with pytest.raises(ValueError, match="Received: shapes"):
            hsic(x, y)
    with pytest.raises(ValueError, match="at least 4. Received: shapes"):
        hsic(X[:3], Y[:3], estimator="unbiased")
    with pytest.raises(ValueError, match="Received: epsilon=0"):
        normalized_hsic(X, Y, epsilon=0)


@pytest.mark.parametrize("wrong", [True, (1.0, True), "1"])
def test_a_flag_is_no_sigma(wrong):
    with pytest.raises(ValueError, match="Received: sigma="):
        hsic(X, Y, sigma=wrong)


@pytest.mark.parametrize("sigma", [None, 1.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nan_is_seen(sigma, estimator):
    x = X.copy()
    x[3, 1] = np.nan
    assert np.isnan(to_numpy(hsic(x, Y, sigma, estimator)))
    assert np.isnan(to_numpy(hsic(Y, x, sigma, estimator)))


@only_tensorflow
def test_numbers_of_samples_that_are_unknown_are_compared():
    import tensorflow as tf

    free = [tf.TensorSpec((None, 3)), tf.TensorSpec((None, 2))]
    call = tf.function(lambda x, y: hsic(x, y, 1.0), input_signature=free)
    np.testing.assert_allclose(call(X, Y), to_numpy(hsic(X, Y, 1.0)), rtol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        call(X, Y[:1])
