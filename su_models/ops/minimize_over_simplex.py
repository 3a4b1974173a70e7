"""Minimization over probability vectors, with a bound on the error."""

import functools

import keras
import numpy as np
from keras import ops

from su_models.backend.autodiff import gradient
from su_models.backend.compile import compiled
from su_models.backend.tracing import is_known
from su_models.utils.checks import check_not_negative, check_number, check_size


def minimize_over_simplex(
    fn, start, args=(), *, step_size=None, tolerance=1e-3, max_steps=10_000
):
    """Minimizes a function of a probability vector, and bounds the error.

    Article: https://kexue.fm/archives/10289
        《通向最优分布之路：概率空间的最小化》

    Each step moves p towards the corner with the smallest derivative, so p
    remains a probability vector without any projection:

        p ← (1 - η) p + η onehot(argmin ∇F(p))                      Eq. (20)

    At a minimum p·∇F(p) = min ∇F(p), Eq. (21). The difference of the two
    sides is the duality gap, which is never negative, and for a convex F

        F(p) - min F ≤ p·∇F(p) - min ∇F(p)

    The iteration ends when the gap is at most `tolerance`, and returns the
    vector with the smallest gap, and that gap.

    Differs: by default η decreases, as 2/(k + 3) in step k = 0, 1, ..., so
    that the gap of a smooth convex F decreases as 1/k. With a constant η the
    gap soon stops decreasing, unless the minimum is a corner. A `start` above
    0 stays above 0.

    All steps are one compiled program, which is reused while `fn` is the same
    function, so values that change between calls should be passed in `args`.
    The result has no gradient.

    Args:
        fn: a function of `(p, *args)` that returns F(p); for a batch of
            problems, one number per problem or their sum.
        start: floats `(..., n)`; each row a probability vector.
        args: tensors or arrays that `fn` takes after p.
        step_size: optional float in (0, 1], a constant η.
        tolerance: float >= 0. float32 reaches about 1e-6 of |∇F|.
        max_steps: int >= 1.

    Returns:
        A pair: p `(..., n)`, and the gap of each row `(...)`, both in the
        dtype of `start`.

    Raises:
        ValueError: if an argument is invalid, rows of `start` do not sum to
            1, or a derivative is NaN.

    Example: the projection onto the probability vectors, Eq. (22).

    >>> x = keras.ops.array([0.6, 1.1, -0.2])
    >>> distance = lambda p, x: keras.ops.sum((p - x) ** 2, axis=-1)
    >>> p, gap = su_models.ops.minimize_over_simplex(
    ...     distance, keras.ops.ones(3) / 3, [x])
    >>> [round(float(v), 2) for v in p], bool(gap <= 1e-3)
    ([0.25, 0.75, 0.0], True)
    """
    if not callable(fn):
        raise ValueError(f"`fn` must be callable. Received: fn={fn!r}")
    step_size = check_number(
        "step_size", step_size, above=0, most=1, optional=True
    )
    tolerance = check_not_negative("tolerance", tolerance)
    max_steps = check_size("max_steps", max_steps)
    start = _checked(start)
    program = _program(fn, step_size is not None)
    eta = 0.0 if step_size is None else step_size
    p, gap = program(start, list(args), eta, tolerance, max_steps)
    if is_known(gap) and np.isnan(ops.convert_to_numpy(gap)).any():
        raise ValueError(
            "The derivatives of `fn` must not be NaN. Received: fn with NaN "
            "derivatives"
        )
    return p, gap


@functools.lru_cache(maxsize=16)
def _program(fn, is_constant):
    """Returns the compiled loop, cached for the next call."""

    def loop(start, args, step_size, tolerance, max_steps):
        def of_p(p):
            return ops.sum(ops.convert_to_tensor(fn(p, *args)))

        def slope(p):
            g = gradient(of_p, p)
            return g, _gap(p, g)

        def unfinished(k, p, g, gap, best, least):
            # the loop also ends if all gaps are NaN
            above = least > ops.cast(tolerance, least.dtype)
            return ops.logical_and(k < max_steps, ops.any(above))

        def step(k, p, g, gap, best, least):
            eta = step_size
            if not is_constant:
                eta = 2.0 / (ops.cast(k, "float32") + 3.0)
            eta = ops.cast(eta, p.dtype)
            corner = ops.one_hot(
                ops.argmin(g, axis=-1), p.shape[-1], dtype=p.dtype
            )
            p = (1.0 - eta) * p + eta * corner
            g, gap = slope(p)
            # NaN is kept, since no comparison with it is true
            better = ops.logical_not(gap >= least)
            best = ops.where(better[..., None], p, best)
            return k + 1, p, g, gap, best, ops.where(better, gap, least)

        g, gap = slope(start)
        state = (ops.zeros((), "int32"), start, g, gap, start, gap)
        return ops.while_loop(unfinished, step, state)[4:]

    return compiled(loop)


def _gap(p, g):
    """Returns p·g - min g, where entries with p = 0 do not count."""
    held = ops.where(p > 0, p * (g - ops.min(g, axis=-1, keepdims=True)), 0.0)
    return ops.sum(held, axis=-1)


def _checked(start):
    start = ops.convert_to_tensor(start)
    dtype = keras.backend.standardize_dtype(start.dtype)
    shape = tuple(start.shape)
    if dtype not in ("float32", "float64") or not shape or 0 in shape:
        raise ValueError(
            "`start` must be float32 or float64, of shape (..., n), not empty. "
            f"Received: dtype={dtype}, shape={shape}"
        )
    if shape[-1] is None:
        raise ValueError(
            f"`start` must have a known last axis. Received: shape={shape}"
        )
    if is_known(start):
        p = ops.convert_to_numpy(start)
        sums = p.sum(axis=-1)
        if not ((p >= 0).all() and np.allclose(sums, 1, atol=1e-4)):
            raise ValueError(
                "`start` must be probability vectors. "
                f"Received: min={p.min()}, sums={sums}"
            )
    return start
