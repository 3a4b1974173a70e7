"""Smooth approximations of the multi-hot vector of the k largest entries."""

import functools
import math

import numpy as np
from keras import ops

from su_models.ops.smooth import check_sharpness, to_float32
from su_models.utils.checks import check_choice, check_integer

# halvings of an interval until float32 has no number between its ends
_BISECTIONS = 48
_NONE = -1e30  # stands for log 0, without NaN gradients


def soft_k_max(x, k, sharpness=1.0, axis=-1):
    """Computes a smooth k-hot vector by k rounds of softmax.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

    From p = 0 and x ← x - min(x), k times:

        p ← p + softmax((1 - p) x)

    The factor 1 - p moves the entries that a round has found to 0, the
    smallest value. The entries sum to k. It is not proven that each is below
    1 and that they have the order of `x`, which holds for `thre_top_k` and
    `grad_top_k`.

    Args:
        x: a tensor; `axis` has a known size n.
        k: int, 1 to n.
        sharpness: float > 0, or a tensor, that `x` is multiplied with first.
        axis: int, the axis along which the entries sum to k.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `k` is not an integer from 1 to n, `sharpness` is not
            above 0, or n is unknown.

    Example:

    >>> p = su_models.ops.soft_k_max([3.0, 2.0, 1.0, 4.0], 2, sharpness=20.0)
    >>> [round(float(v), 3) for v in p]
    [1.0, 0.0, 0.0, 1.0]
    """
    x, k, dtype = _prepared(x, k, sharpness, axis)
    x = x - ops.min(x, axis=-1, keepdims=True)
    p = ops.softmax(x, axis=-1)
    for _ in range(k - 1):
        p = p + ops.softmax((1.0 - p) * x, axis=-1)
    return ops.cast(ops.moveaxis(p, -1, axis), dtype)


def thre_top_k(x, k, sharpness=1.0, form="laplace", axis=-1):
    """Computes ThreTopK: an S-curve around the threshold with sum k.

    Article: https://kexue.fm/archives/10373
        《Softmax后传：寻找Top-K的光滑近似》

        ST_k(x) = f(x - λ(x)),  Σ_i f(x_i - λ(x)) = k               Eq. (15)

        "laplace"      f(x) = 1 - e^(-x)/2 (x ≥ 0), e^x/2 (x < 0)   Eq. (23)
        "sigmoid"      f(x) = 1 / (1 + e^(-x))
        "exponential"  f(x) = min(1, e^x)

    The entries lie between 0 and 1, have the order of `x`, and do not change
    when a constant is added to `x`; as `sharpness` grows they become 0 and 1.
    With k = 1 the exponential form is softmax, and so is the Laplace form if
    no entry exceeds 1/2; the article omits this condition.

    Given the number m of entries above λ, λ has a closed form, Eq. (17) and
    Eq. (25); for the sigmoid, λ is found by bisection, with the derivative of
    Eq. (21).

    Differs: m goes up to n. The article stops at n - 1, which leaves no
    solution if k > n/2 and the entries are close to each other. Eq. (25) is
    computed with log-sum-exps, so that no power overflows.

    Args:
        x: a tensor; `axis` has a known size n.
        k: int, 1 to n.
        sharpness: float > 0, or a tensor, that `x` is multiplied with first.
        form: `"laplace"`, `"sigmoid"` or `"exponential"`, f.
        axis: int, the axis along which the entries sum to k.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `k` is not an integer from 1 to n, `sharpness` is not
            above 0, `form` is invalid, or n is unknown.

    Example:

    >>> p = su_models.ops.thre_top_k([2.0, 1.0, 4.0, 5.0, 3.0], 2)
    >>> [round(float(v), 3) for v in p]
    [0.106, 0.039, 0.682, 0.883, 0.289]
    """
    check_choice("form", form, tuple(_FORMS))
    x, k, dtype = _prepared(x, k, sharpness, axis)
    if k == x.shape[-1]:
        p = _ones(x)
    else:
        x = _centred(x, k)
        curve, threshold = _FORMS[form]
        p = curve(x - threshold(x, k))
    return ops.cast(ops.moveaxis(p, -1, axis), dtype)


def grad_top_k(x, k, sharpness=1.0, axis=-1):
    """Computes GradTopK: the gradient of a smooth sum of k largest entries.

    Article: https://kexue.fm/archives/10373
        《Softmax后传：寻找Top-K的光滑近似》

        ST_k(x) = ∇ log Z_k,
        Z_k = Σ_(i_1 < ... < i_k) exp(x_(i_1) + ... + x_(i_k))       Eq. (9)

        ST_k(x)_i = Z_(k,i) / Z_k                                   Eq. (10)

    The entries lie between 0 and 1, have the order of `x`, and do not change
    when a constant is added to `x`; as `sharpness` grows they become 0 and 1.
    With k = 1 the result is softmax.

    Differs: the article's recursion subtracts nearly equal numbers, and
    fails for a large k or entries far apart. Here entry i is the probability
    that coin i shows heads given that k of n coins do, where coin i has the
    odds exp(x_i - λ); the result is the same for any λ. The distribution of
    the number of heads is built over a binary tree by adding and multiplying
    numbers between 0 and 1, in O(n k log n).

    Args:
        x: a tensor; `axis` has a known size n.
        k: int, 1 to n.
        sharpness: float > 0, or a tensor, that `x` is multiplied with first.
        axis: int, the axis along which the entries sum to k.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `k` is not an integer from 1 to n, `sharpness` is not
            above 0, or n is unknown.

    Example:

    >>> p = su_models.ops.grad_top_k([3.0, 2.0, 1.0, 4.0], 2, sharpness=9.0)
    >>> [round(float(v), 3) for v in p]
    [1.0, 0.0, 0.0, 1.0]
    """
    x, k, dtype = _prepared(x, k, sharpness, axis)
    if k == x.shape[-1]:
        p = _ones(x)
    else:
        x = _centred(x, k)
        # then the expected number of heads is k, so P(k heads) is not small
        x = x - ops.stop_gradient(_sigmoid_threshold(x, k))
        p = _given_k_heads(ops.sigmoid(x), ops.sigmoid(-x), k)
    return ops.cast(ops.moveaxis(p, -1, axis), dtype)


def _prepared(x, k, sharpness, axis):
    """Returns `sharpness * x` with `axis` last in float32, k, and the dtype."""
    x, dtype = to_float32(x)
    sharpness = check_sharpness(sharpness, x.dtype)
    x = ops.moveaxis(sharpness * x, axis, -1)
    n = x.shape[-1]
    if n is None:
        raise ValueError(
            f"The size of `axis` must be known. Received: shape={x.shape}"
        )
    return x, check_integer("k", k, least=1, most=n), dtype


def _ones(x):
    """Returns the k-hot vector for k = n, with zero gradients to `x`."""
    return 1.0 + 0.0 * x


def _centred(x, k):
    """Shifts the k-th largest entry to 0, where float32 is most precise."""
    kth = ops.sort(x, axis=-1)[..., -k][..., None]
    return x - ops.stop_gradient(kth)


# ---- thresholds


def _laplace(u):
    half = 0.5 * ops.exp(-ops.abs(u))
    return ops.where(u >= 0, 1.0 - half, half)


def _laplace_threshold(x, k):
    """Returns λ by Eq. (25), where A, B are log Σ e^-x above, log Σ e^x below.

    e^λ is the positive root of z² e^A/2 + (k - m) z - e^B/2 = 0, so
    λ = (B - A)/2 - asinh((k - m) e^(-(A + B)/2)), computed by the sign of
    k - m.
    """
    falling, above, m = _split(_laplace, x, k)
    a = _masked_logsumexp(-falling, above)
    b = _masked_logsumexp(falling, ops.logical_not(above))
    d = k - m
    r = ops.maximum(ops.abs(d), 1.0)
    t = ops.log(r) + ops.log(1.0 + ops.sqrt(1.0 + ops.exp(a + b) / r**2))
    few = ops.where(d > 0, b - t, t - a)
    # for a symbolic tensor, `d == 0` would be Python's False
    return ops.where(ops.equal(d, 0), 0.5 * (b - a), few)


def _exponential(u):
    return ops.exp(ops.minimum(u, 0.0))


def _exponential_threshold(x, k):
    """Returns λ = log Σ_(below) e^x - log(k - m), Eq. (17)."""
    falling, above, m = _split(_exponential, x, k)
    b = _masked_logsumexp(falling, ops.logical_not(above))
    return b - ops.log(ops.maximum(k - m, 1.0))


def _split(f, x, k):
    """Splits the entries into those above λ and the others.

    Entry j is above λ if Σ_i f(x_i - x_j) < k. This sum grows as x_j falls,
    and bisection finds the rank at which it reaches k with log2(n) sums. The
    search uses ranks, since XLA may round `x` differently in two places.

    Returns:
        `x` in descending order, the mask of the entries above λ, and their
        number m.
    """
    n = x.shape[-1]
    falling = ops.flip(ops.sort(x, axis=-1), axis=-1)
    values = ops.stop_gradient(falling)
    low = ops.zeros_like(values[..., :1], dtype="int32")
    high = ops.full_like(low, n)
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        level = ops.take_along_axis(values, ops.minimum(middle, n - 1), axis=-1)
        total = ops.sum(f(values - level), axis=-1, keepdims=True)
        less = ops.logical_and(total < k, low < high)
        low, high = (
            ops.where(less, middle + 1, low),
            ops.where(less, high, middle),
        )
    return falling, ops.less(ops.arange(n), low), ops.cast(low, x.dtype)


def _masked_logsumexp(x, mask):
    """Returns log-sum-exp of the masked-in entries; -1e30 if none."""
    return ops.logsumexp(ops.where(mask, x, _NONE), axis=-1, keepdims=True)


def _sigmoid_threshold(x, k):
    """Finds λ by bisection; Eq. (22) is the derivative of Eq. (21).

    The equation is Σ_(top k) σ(λ - x_i) = Σ_(rest) σ(x_i - λ), which equals
    Eq. (15) without its k ones. In logarithms it has one solution even where
    float32 rounds every σ to 0 or 1.
    """
    value = ops.stop_gradient(x)
    n = x.shape[-1]
    rising = ops.sort(value, axis=-1)
    shift = math.log(k / (n - k))  # σ⁻¹(k/n)
    interval = [rising[..., :1] - shift, rising[..., -1:] - shift, rising]
    interval = ops.concatenate(interval, axis=-1)
    interval = ops.fori_loop(0, _BISECTIONS, _halving(k), interval)
    threshold = 0.5 * (interval[..., :1] + interval[..., 1:2])
    u = ops.abs(value - threshold)
    # σ' is normalized in logarithms, since float32 may round it to 0
    slope = ops.softmax(-u - 2.0 * ops.softplus(-u), axis=-1)
    slope, threshold = map(ops.stop_gradient, (slope, threshold))
    return threshold + ops.sum((x - value) * slope, axis=-1, keepdims=True)


@functools.lru_cache(maxsize=1024)  # JAX compiles a loop once per body
def _halving(k):
    """Returns a bisection step on the vector (low, high, sorted entries)."""

    def halve(_, interval):
        low, high = interval[..., :1], interval[..., 1:2]
        rest, top = interval[..., 2:-k], interval[..., -k:]
        middle = 0.5 * (low + high)
        missing, excess = (
            ops.logsumexp(ops.log_sigmoid(u), axis=-1, keepdims=True)
            for u in (middle - top, rest - middle)
        )
        right = excess > missing
        low, high = (
            ops.where(right, middle, low),
            ops.where(right, high, middle),
        )
        return ops.concatenate([low, high, interval[..., 2:]], axis=-1)

    return halve


_FORMS = {
    "laplace": (_laplace, _laplace_threshold),
    "sigmoid": (ops.sigmoid, _sigmoid_threshold),
    "exponential": (_exponential, _exponential_threshold),
}


# ---- numbers of heads


def _given_k_heads(heads, tails, k):
    """Returns the probability of heads of each coin, given k heads in all.

    The pass up the tree computes for each node the distribution of the heads
    of the coins below it; the pass down, that of all other coins.
    """
    n = heads.shape[-1]
    depth = (n - 1).bit_length()
    none = [[0, 0]] * (len(heads.shape) - 1) + [[0, 2**depth - n]]
    # coins that pad the tree never show heads
    tails = ops.pad(tails, none, constant_values=1.0)
    inside = [ops.stack([tails, ops.pad(heads, none)], axis=-1)]  # (..., N, 2)
    for _ in range(depth):
        inside.append(_product(*ops.split(inside[-1], 2, axis=-2), k))
    everything = inside.pop()  # (..., 1, degrees)
    others = ops.ones_like(everything[..., :1])
    for nodes in reversed(inside):
        left, right = ops.split(nodes, 2, axis=-2)
        siblings = (_product(others, half, k - 1) for half in (right, left))
        others = ops.concatenate([*siblings], axis=-2)  # (..., nodes, degrees)
    p = heads * others[..., :n, k - 1]
    return p / everything[..., k]


def _product(a, b, degree):
    """Multiplies polynomials, coefficients last, up to a degree."""
    la, lb = a.shape[-1], b.shape[-1]
    degrees = min(la + lb - 1, degree + 1)
    index = np.arange(degrees) - np.arange(la)[:, None]  # (i, j): j - i
    index = np.where((index >= 0) & (index < lb), index, lb)
    b = ops.concatenate([b, ops.zeros_like(b[..., :1])], axis=-1)
    shifted = ops.take(b, index, axis=-1)  # (..., i, j)
    return ops.sum(a[..., None] * shifted, axis=-2)
