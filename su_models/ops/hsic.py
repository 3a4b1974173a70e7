"""The Hilbert-Schmidt independence criterion."""

from keras import ops

from su_models.backend.histogram import histogram
from su_models.backend.match_axes import match_axes
from su_models.backend.precision import sum_dtype
from su_models.utils.checks import check_choice, check_positive, is_real

_BLOCK = 2**22  # entries of a kernel matrix that are computed at a time
_SORTED = 2048  # largest number of samples whose distances are sorted
_BINS, _PASSES = 2**16, 2  # of the histograms for more samples
_ESTIMATORS = ("biased", "gretton", "unbiased")


def hsic(x, y, sigma=None, estimator="biased"):
    """Estimates the dependence of two variables from samples.

    Article: https://kexue.fm/archives/6910
        《HSIC简介：一个有意思的判断相关性的思路》

    With K and L the kernel matrices of `x` and of `y`, and J = I - 1/n:

        K_ij = exp(-‖x_i - x_j‖² / σ²)                             Eq. (14)

        "biased"    Tr(K J L J) / n²                               Eq. (16)
        "gretton"   Tr(K J L J) / (n - 1)²                         Eq. (17)
        "unbiased"  [Tr AB + (Σ A)(Σ B) / ((n-1)(n-2))
                     - 2 Σ AB / (n-2)] / (n (n-3))

    where A and B are K and L with a diagonal of 0 (Song et al., 2012). The
    first two are never negative, and have a positive mean even for independent
    variables; the mean of the third is then 0, so it is often negative. The
    value depends on σ, so only comparisons are meaningful.

    Differs: the article calls Eq. (17) unbiased, which it is not.

    If n is known, memory holds a few blocks of rows of the kernel matrices
    instead of n² entries; only gradients keep all blocks. The sums are over
    centred kernels, so that float32 does not lose small values.

    Args:
        x: `(n,)` or `(n, ...)`, one sample a row.
        y: like `x`; the shape of a sample may differ.
        sigma: float > 0, σ of both variables; or a pair, (σ of x, σ of y).
            None, also within a pair: σ² = 2 median(d)² over the distances d
            of all i < j, or 1 if the median is 0; gradients treat it as a
            constant.
        estimator: `"biased"`, `"gretton"` or `"unbiased"`.

    Returns:
        A scalar in float32, or in float64 if `x` is.

    Raises:
        ValueError: if shapes, `sigma` or `estimator` are invalid, or n is
            below 2, or below 4 for the unbiased estimator, or above 65 000 if
            `sigma` is None.

    Example:

    >>> x = keras.ops.arange(6, dtype="float32") / 5
    >>> round(float(su_models.ops.hsic(x, x**2, sigma=1.0)), 6)
    0.025808
    """
    check_choice("estimator", estimator, _ESTIMATORS)
    x, y = _samples(x, y, least=4 if estimator == "unbiased" else 2)
    x, y = (_scaled(z, s) for z, s in zip((x, y), _pair(sigma), strict=True))
    n = ops.cast(ops.shape(x)[0], x.dtype)
    if estimator == "unbiased":
        total = _centred_product(x, y, n - 2.0, (n - 1.0) * (n - 2.0), False)
        return total / (n * (n - 3.0))
    total = _centred_product(x, y, n, n * n, True)
    return total / (n**2 if estimator == "biased" else (n - 1.0) ** 2)


def normalized_hsic(x, y, sigma=None, epsilon=1e-5):
    """Computes the HSIC of whitened kernels, as in the HSIC bottleneck.

    Article: https://kexue.fm/archives/6910
        《HSIC简介：一个有意思的判断相关性的思路》
    Paper: https://arxiv.org/abs/1908.01580

        Tr(K~ L~),  K~ = J K J (J K J + ε n I)^(-1)

    The value lies between 0 and n - 1 and depends less on σ than `hsic`, but
    requires solving two systems of n equations.

    Args:
        x: `(n,)` or `(n, ...)`, one sample a row.
        y: like `x`; the shape of a sample may differ.
        sigma: as in `hsic`; the kernel is also that of Eq. (14).
        epsilon: float > 0, ε.

    Returns:
        A scalar in float32, or in float64 if `x` is.

    Raises:
        ValueError: if an argument is invalid, or n is below 2.

    Example:

    >>> x = keras.ops.arange(6, dtype="float32")
    >>> bool(su_models.ops.normalized_hsic(x, x**2) < 5)
    True
    """
    if not ops.is_tensor(epsilon):
        epsilon = check_positive("epsilon", epsilon)
    x, y = _samples(x, y, least=2)
    whitened = [
        _whitened(_scaled(z, s), epsilon)
        for z, s in zip((x, y), _pair(sigma), strict=True)
    ]
    return ops.sum(whitened[0] * whitened[1])


# ---- arguments


def _samples(x, y, least):
    """Returns both as centred float matrices with equally many rows."""
    x, y = map(ops.convert_to_tensor, (x, y))
    shapes = tuple(x.shape), tuple(y.shape)
    counts = [_known(z) if len(z.shape) else 0 for z in (x, y)]
    if None not in counts and (counts[0] != counts[1] or counts[0] < least):
        raise ValueError(
            "`x` and `y` must have one row per sample, and equally many rows, "
            f"at least {least}. "
            f"Received: shapes {shapes[0]} and {shapes[1]}"
        )
    y = match_axes("y", y, x)
    dtype = sum_dtype(x.dtype)
    rows = []
    for z in (x, y):
        z = ops.cast(z, dtype)
        z = ops.reshape(z, (ops.shape(z)[0], -1))  # (n, d)
        rows.append(z - ops.stop_gradient(ops.mean(z, axis=0)))
    return rows


def _known(x):
    """Returns the number of rows, or None if it is symbolic."""
    return x.shape[0] if isinstance(x.shape[0], int) else None


def _pair(sigma):
    pair = sigma if isinstance(sigma, (tuple, list)) else (sigma, sigma)
    if len(pair) != 2 or not all(s is None or _is_positive(s) for s in pair):
        raise ValueError(
            "`sigma` must be None, a number above 0, or a pair of these. "
            f"Received: sigma={sigma!r}"
        )
    return pair


def _is_positive(value):
    return ops.is_tensor(value) or (is_real(value) and value > 0)


def _scaled(x, sigma):
    """Returns `x / σ`."""
    if sigma is None:
        median = ops.stop_gradient(_median_of_squares(ops.stop_gradient(x)))
        square = ops.where(median > 0, 2.0 * median, 1.0)
        return x / ops.sqrt(square)
    return x / sigma


# ---- blocks


def _blocks(x):
    """Returns start and end of each block of rows; None is the last end."""
    n = _known(x)
    if n is None or n * n <= _BLOCK:
        return [(0, None)]
    size = max(1, _BLOCK // n)
    return [(i, min(i + size, n)) for i in range(0, n, size)]


def _squares(x, start, end):
    """Returns squared distances of a block of rows to all rows, `(m, n)`."""
    rows = x[start:end]
    norms = ops.sum(ops.square(x), axis=-1)  # (n,)
    d = norms[start:end, None] + norms - 2 * ops.matmul(rows, ops.transpose(x))
    return ops.where(_diagonal(x, start, end), 0.0, ops.maximum(d, 0.0))


def _diagonal(x, start, end):
    index = ops.arange(ops.shape(x)[0])
    return ops.equal(index[start:end, None], index)


def _kernel(x, start, end, diagonal):
    k = ops.exp(-_squares(x, start, end))
    if diagonal:
        return k
    return ops.where(_diagonal(x, start, end), 0.0, k)


def _centred_product(x, y, by_rows, by_all, diagonal):
    """Returns Σ_ij of the product of the centred kernels K and L.

    A centred kernel is K_ij - r_i/a - r_j/a + Σ_i r_i/b, with the sums r of
    the rows, a = `by_rows` and b = `by_all`. With a = n, b = n² it is J K J.
    With the other values it is the U-centring of Székely and Rizzo, without
    the diagonal, and the product gives the unbiased estimator.
    """
    sums = []
    for z in (x, y):
        # sums over columns equal those over rows, and have the same size for
        # each block: small pieces kept of each block would fragment memory
        r = 0.0
        for block in _blocks(z):
            r = r + ops.sum(_kernel(z, *block, diagonal), axis=0)
        sums.append((r / by_rows, ops.sum(r) / by_all))
    total = 0.0
    for start, end in _blocks(x):
        centred = [
            _kernel(z, start, end, diagonal) - r[start:end, None] - r + mean
            for z, (r, mean) in zip((x, y), sums, strict=True)
        ]
        product = centred[0] * centred[1]
        if not diagonal:
            product = ops.where(_diagonal(x, start, end), 0.0, product)
        total = total + ops.sum(product)
    return total


def _whitened(x, epsilon):
    k = _kernel(x, 0, None, True)
    r = ops.mean(k, axis=1)  # (n,)
    k = k - r[:, None] - r + ops.mean(r)
    n = ops.shape(k)[0]
    ridge = epsilon * ops.cast(n, k.dtype) * ops.eye(n, dtype=k.dtype)
    # k is symmetric and commutes with the inverse
    return ops.solve(k + ridge, k)


# ---- the median of the squared distances


def _median_of_squares(x):
    """Returns the median over i < j; with many samples, a middle value."""
    n = _known(x)
    if n is None or n <= _SORTED:
        d = ops.sort(ops.reshape(_squares(x, 0, None), (-1,)))
        n = ops.shape(x)[0]
        pairs = n * n - n  # each pair twice, after n zeros of the diagonal
        middle = [ops.take(d, n + (pairs - k) // 2) for k in (1, 0)]
        # the median of d, not of d²: √ is applied before the mean
        root = (ops.sqrt(middle[0]) + ops.sqrt(middle[1])) / 2
        return ops.square(root)
    return _select(x, n + (n * n - n) // 2)


def _select(x, rank):
    """Returns the entry of a rank, from 0, by histograms with finer bins."""
    if rank >= 2**31:
        raise ValueError(
            "`sigma` must be given for so many samples, whose distances "
            "cannot be counted in int32. "
            f"Received: sigma=None, n={x.shape[0]}"
        )
    blocks = _blocks(x)
    low = ops.zeros((), x.dtype)
    high = 4.0 * ops.max(ops.sum(ops.square(x), axis=-1))  # ‖a - b‖ ≤ 2 max
    for _ in range(_PASSES):
        width = ops.maximum((high - low) / _BINS, 1e-30)
        counts = 0
        for block in blocks:
            bins = ops.floor((_squares(x, *block) - low) / width)
            bins = ops.cast(ops.clip(bins, -1, _BINS), "int32") + 1
            counts = counts + histogram(ops.reshape(bins, (-1,)), _BINS + 2)
        below = ops.cumsum(counts)
        index = ops.sum(ops.cast(below <= rank, "int32"))
        index = ops.clip(index, 1, _BINS)  # bins count from 1
        low, high = (
            low + ops.cast(index - 1, x.dtype) * width,
            low + ops.cast(index, x.dtype) * width,
        )
    return (low + high) / 2
