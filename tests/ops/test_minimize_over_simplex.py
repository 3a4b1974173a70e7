"""Article: https://kexue.fm/archives/10289"""

import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled
from su_models.ops import minimize_over_simplex
from tests.contract import normal, to_numpy


def distance(p, x):
    """‖p - x‖², whose minimum is Sparsemax, Eq. (22)."""
    return ops.sum((p - x) ** 2, axis=-1)


def sparsemax(x):
    """relu(x - λ) with the λ that makes it sum to 1, Eq. (25), by halving.

    Not `keras.ops.sparsemax`: that of Keras 3.15 sums to less than 1 where
    more than one entry is above 0 (keras-team/keras issue 23425).
    """
    x = np.asarray(x, "float64")
    low, high = x.min(axis=-1) - 1.0, x.max(axis=-1)
    for _ in range(60):
        middle = (low + high) / 2
        much = np.maximum(x - middle[..., None], 0).sum(axis=-1) > 1
        low, high = np.where(much, middle, low), np.where(much, high, middle)
    return np.maximum(x - high[..., None], 0)


def divergence(p, q):
    """KL(p‖q)."""
    return ops.sum(p * ops.log(p / q), axis=-1)


def even(*shape):
    return np.full(shape, 1 / shape[-1], "float32")


@pytest.mark.parametrize("step_size", [0.2, None])
def test_steps_are_eq_20_and_the_best_is_returned(step_size):
    x = normal(4, 5)
    p, best, least = even(4, 5).astype("float64"), None, np.full(4, np.inf)
    for k in range(4):
        g = 2 * (p - x)
        gap = (p * g).sum(axis=-1) - g.min(axis=-1)  # Eq. (21)
        better = (gap < least)[:, None]
        best = np.where(better, p, best) if k else p
        least = np.minimum(gap, least)
        eta = 2 / (k + 3) if step_size is None else step_size
        p = (1 - eta) * p + eta * np.eye(5)[np.argmin(g, axis=-1)]
        assert (p > 0).all()
    got = minimize_over_simplex(
        distance, even(4, 5), [x], step_size=step_size, max_steps=3, tolerance=0
    )
    np.testing.assert_allclose(to_numpy(got[0]), best, atol=1e-6)
    np.testing.assert_allclose(to_numpy(got[1]), least, atol=1e-6)


def test_it_is_sparsemax():
    x = normal(4, 5)
    expected = sparsemax(x)
    assert (expected == 0).any() and (expected > 0).sum() > 6
    p, gap = map(
        to_numpy,
        minimize_over_simplex(distance, even(4, 5), [x], tolerance=1e-3),
    )
    assert p.shape == (4, 5) and gap.shape == (4,)
    assert (gap >= 0).all() and (gap <= 1e-3).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, atol=1e-5)
    assert (p >= 0).all()
    # F grows as a square: ‖p - p*‖² ≤ F(p) - F(p*) ≤ gap
    off = ((p - expected) ** 2).sum(axis=-1)
    assert (off <= gap + 1e-6).all()
    np.testing.assert_allclose(p, expected, atol=2e-3)
    # Eq. (25): where p > 0, x - p is one number λ
    held = np.where(expected > 0, x - p, np.nan)
    spread = np.nanmax(held, axis=-1) - np.nanmin(held, axis=-1)
    assert (spread < 5e-3).all()


def test_it_is_that_of_keras_where_one_entry_is_left():
    x = np.array([[3.0, 1.0, 0.5], [-2.0, 0.1, 1.3]], "float32")
    expected = to_numpy(ops.sparsemax(ops.convert_to_tensor(x)))
    p, _ = minimize_over_simplex(distance, even(2, 3), [x])
    np.testing.assert_allclose(to_numpy(p), expected, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 10, 300])
def test_the_gap_bounds_what_is_missing(steps):
    x = normal(4, 5)
    best = ((sparsemax(x) - x) ** 2).sum(axis=-1)
    p, gap = minimize_over_simplex(
        distance, even(4, 5), [x], tolerance=0.0, max_steps=steps
    )
    missing = to_numpy(distance(p, ops.convert_to_tensor(x))) - best
    assert (missing >= -1e-6).all()
    assert (missing <= to_numpy(gap) + 1e-6).all()


def test_gap_falls_as_one_over_k():
    x = normal(4, 5)
    gaps = [
        to_numpy(
            minimize_over_simplex(
                distance, even(4, 5), [x], tolerance=0.0, max_steps=steps
            )[1]
        )
        for steps in (10, 100, 1000)
    ]
    for steps, gap in zip((10, 100, 1000), gaps, strict=True):
        assert (gap <= 27 / (steps + 2)).all()  # 27 L r²/4(k + 2), L r² = 4
    assert gaps[2].max() < gaps[1].max() < gaps[0].max()


def test_constant_steps_stop_short():
    _, gap = minimize_over_simplex(
        distance,
        even(4, 5),
        [normal(4, 5)],
        step_size=0.3,
        tolerance=0.0,
        max_steps=200,
    )
    assert to_numpy(gap).max() > 0.05


def test_minimum_of_a_divergence_is_its_target():
    q = np.array([0.1, 0.2, 0.7], "float32")
    p, gap = map(to_numpy, minimize_over_simplex(divergence, even(3), [q]))
    assert gap <= 1e-3
    np.testing.assert_allclose(p, q, atol=0.03)
    # an entry of 0 in `start` is left at once, though log 0 is -∞
    corner = np.array([0.0, 0.0, 1.0], "float32")
    p, gap = map(to_numpy, minimize_over_simplex(linear_log, corner, [q]))
    assert np.isfinite(gap) and gap <= 2e-3
    np.testing.assert_allclose(p, q, atol=0.03)


def linear_log(p, q):
    """-Σ q log p, least at p = q; its derivative at p = 0 is -∞."""
    return -ops.sum(q * ops.log(p), axis=-1)


def test_it_ends_when_the_gap_is_small():
    calls = []

    def counted(p, x):
        calls.append(None)
        return distance(p, x)

    x = np.array([3.0, 0.0, 0.0], "float32")  # the minimum is a corner
    _, coarse = minimize_over_simplex(counted, even(3), [x], tolerance=0.1)
    _, fine = minimize_over_simplex(counted, even(3), [x], tolerance=0.01)
    assert 0.01 < to_numpy(coarse) <= 0.1 and to_numpy(fine) <= 0.01


def test_it_works_inside_a_program():
    x = normal(4, 5)

    def inside(x):
        p, gap = minimize_over_simplex(distance, even(4, 5), [x])
        return p, gap

    p, gap = compiled(inside)(x)
    np.testing.assert_allclose(to_numpy(p), sparsemax(x), atol=2e-3)
    assert (to_numpy(gap) <= 1e-3).all()


@pytest.mark.parametrize(
    ("start", "match"),
    [
        ([0.5, 0.6], "`start` must be probability vectors"),
        ([1.5, -0.5], "`start` must be probability vectors"),
        ([np.nan, 1.0], "`start` must be probability vectors"),
        (np.ones((2, 0), "float32"), r"shape=\(2, 0\)"),
        (np.ones((0, 2), "float32"), r"shape=\(0, 2\)"),
        (1.0, r"shape=\(\)"),
        ([1, 0], "dtype=int32"),
    ],
)
def test_start_that_is_no_distribution_is_refused(start, match):
    start = np.asarray(start)
    start = start.astype("float32" if start.dtype.kind == "f" else "int32")
    with pytest.raises(ValueError, match=match):
        minimize_over_simplex(distance, start, [0.0])


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"step_size": 0.0}, "Received: step_size=0.0"),
        ({"step_size": 1.5}, "Received: step_size=1.5"),
        ({"tolerance": -1.0}, "Received: tolerance=-1.0"),
        ({"tolerance": float("nan")}, "Received: tolerance=nan"),
        ({"max_steps": 0}, "Received: max_steps=0"),
        ({"max_steps": 2.0}, "Received: max_steps=2.0"),
    ],
)
def test_bad_arguments_are_refused(more, match):
    with pytest.raises(ValueError, match=match):
        minimize_over_simplex(distance, even(3), [0.0], **more)


def test_bad_functions_are_refused():
    with pytest.raises(ValueError, match="`fn` must be callable"):
        minimize_over_simplex(None, even(3))
    with pytest.raises(ValueError, match="must not be NaN"):
        minimize_over_simplex(lambda p: ops.sum(p) * np.nan, even(3))
