"""Smooth approximations of functions that have no useful derivative."""

import math

import keras
from keras import ops

from su_models.backend.tracing import is_known
from su_models.utils.checks import check_choice, check_positive

# up to this sharpness the smooth floor equals x - 1/2 in float32
_STAIRCASE = 1.0


def smooth_max(x, sharpness=1.0, axis=-1):
    """Computes log-sum-exp, the smooth maximum.

    Article: https://kexue.fm/archives/3290
        《寻求一个光滑的最大值函数》
    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

        max(x_1, ..., x_n) = lim (1/K) log Σ_i exp(K x_i), K → ∞     Eq. (1)

    It exceeds the maximum by 0 to log(n)/K.

    Args:
        x: a tensor.
        sharpness: float > 0, or a tensor. K.
        axis: int, the axis that is reduced.

    Returns:
        A tensor without `axis`, of the dtype of `x`.

    Raises:
        ValueError: if `sharpness` is not above 0, or `x` has no axis.

    Example:

    >>> y = su_models.ops.smooth_max([1.0, 2.0, 3.0, 2.9], sharpness=10.0)
    >>> round(float(y), 3)
    3.031
    """
    x, dtype = to_float32(x)
    sharpness = check_sharpness(sharpness, x.dtype)
    # subtracting the maximum is exact for equal entries and for a large K
    top = ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))
    y = ops.logsumexp(sharpness * (x - top), axis=axis) / sharpness
    return ops.cast(y + ops.squeeze(top, axis), dtype)


def smooth_one_hot(x, sharpness=1.0, axis=-1):
    """Computes softmax, the smooth one-hot vector of the largest entry.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

        onehot(argmax(x)) ≈ softmax(K x)                             Eq. (7)

    Equal largest entries share the 1.

    Args:
        x: a tensor.
        sharpness: float > 0, or a tensor. K.
        axis: int, the axis along which the entries sum to 1.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `sharpness` is not above 0, or `x` has no axis.

    Example:

    >>> y = su_models.ops.smooth_one_hot([2.0, 1.0, 4.0, 5.0, 3.0], 10.0)
    >>> [round(float(p), 3) for p in y]
    [0.0, 0.0, 0.0, 1.0, 0.0]
    """
    x, dtype = to_float32(x)
    sharpness = check_sharpness(sharpness, x.dtype)
    return ops.cast(ops.softmax(sharpness * x, axis=axis), dtype)


def smooth_argmax(x, sharpness=1.0, axis=-1):
    """Computes the expected index under softmax, the smooth arg max.

    Article: https://kexue.fm/archives/6620
        《函数光滑化杂谈：不可导函数的可导逼近》

        argmax(x) ≈ Σ_i i softmax(K x)_i                            Eq. (10)

    Differs: indices count from 0, as in `argmax`; in the article, from 1.

    Args:
        x: a tensor.
        sharpness: float > 0, or a tensor. K.
        axis: int, the axis that is reduced.

    Returns:
        A tensor without `axis`, of the dtype of `x`. In float16 and bfloat16
        large indices are rounded.

    Raises:
        ValueError: if `sharpness` is not above 0, or `x` has no axis.

    Example:

    >>> y = su_models.ops.smooth_argmax([2.0, 1.0, 4.0, 5.0, 3.0], 10.0)
    >>> round(float(y), 3)
    3.0
    """
    x, dtype = to_float32(x)
    sharpness = check_sharpness(sharpness, x.dtype)
    p = ops.softmax(sharpness * x, axis=axis)
    p = ops.moveaxis(p, axis, -1)
    index = ops.cast(ops.arange(ops.shape(p)[-1]), p.dtype)
    return ops.cast(ops.sum(p * index, axis=-1), dtype)


def smooth_abs(x, sharpness=1.0):
    """Computes the smooth absolute value.

    Article: https://kexue.fm/archives/3290
        《寻求一个光滑的最大值函数》

        |x| = lim (1/k) ln(e^(kx) + e^(-kx)), k → ∞                  Eq. (7)

    It exceeds |x| by 0 to ln(2)/k; its derivative is tanh(k x).

    Args:
        x: a tensor.
        sharpness: float > 0, or a tensor. k.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `sharpness` is not above 0.

    Example:

    >>> round(float(su_models.ops.smooth_abs(-3.0, sharpness=10.0)), 4)
    3.0
    """
    x, dtype = to_float32(x, rank=0)
    sharpness = check_sharpness(sharpness, x.dtype)
    # ln(e^u + e^-u) = softplus(2u) - u does not overflow and is smooth at 0
    y = ops.softplus(2.0 * sharpness * x) / sharpness - x
    return ops.cast(y, dtype)


def smooth_relu(x, sharpness=1.0, form="softplus"):
    """Computes a smooth max(x, 0), in four forms derived from Dirac's δ.

    Article: https://kexue.fm/archives/8718
        《用狄拉克函数来构造非光滑函数的光滑近似》

    The article replaces δ by a smooth bell, the derivative of σ(t x) or a
    normal density with σ = 1/t, and integrates it against max(y, 0), or
    against the step θ(y) and multiplies by x:

        "softplus"  log(1 + e^(tx)) / t                              Eq. (8)
        "gaussian"  ½ [x erf(x/(√2 σ)) + x + √(2/π) σ e^(-x²/2σ²)]   Eq. (9)
        "swish"     x σ(t x)                                        Eq. (10)
        "gelu"      ½ [x + x erf(x/(√2 σ))]                         Eq. (11)

    Args:
        x: a tensor.
        sharpness: float > 0, or a tensor. t.
        form: `"softplus"`, `"gaussian"`, `"swish"` or `"gelu"`.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `sharpness` is not above 0, or `form` is invalid.

    Example:

    >>> round(float(su_models.ops.smooth_relu(1.0, form="gelu")), 4)
    0.8413
    """
    check_choice("form", form, ("softplus", "gaussian", "swish", "gelu"))
    x, dtype = to_float32(x, rank=0)
    sharpness = check_sharpness(sharpness, x.dtype)
    u = sharpness * x
    if form == "softplus":
        y = ops.softplus(u) / sharpness
    elif form == "gaussian":
        bell = math.sqrt(2.0 / math.pi) * ops.exp(-0.5 * ops.square(u))
        y = 0.5 * (x * ops.erf(u / math.sqrt(2.0)) + x + bell / sharpness)
    elif form == "swish":
        y = x * ops.sigmoid(u)
    else:
        y = 0.5 * (x + x * ops.erf(u / math.sqrt(2.0)))
    return ops.cast(y, dtype)


def smooth_floor(x, sharpness=10.0):
    """Computes the smooth floor, a staircase of sigmoids.

    Article: https://kexue.fm/archives/8718
        《用狄拉克函数来构造非光滑函数的光滑近似》

        ⌊x⌋ ≈ Σ_(n≤0) [σ(t(x-n)) - 1] + Σ_(n≥1) σ(t(x-n))           Eq. (15)

    Differs: the article truncates both sums at a fixed n, where its staircase
    ends. Here the sums are taken around each x, so the staircase has no end:
    the value at x + 1 is that at x plus 1.

    Args:
        x: a tensor.
        sharpness: float > 0. t. Up to 1 there are no visible steps: the
            result equals x - 1/2 in float32.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `sharpness` is not a number above 0.

    Example:

    >>> y = su_models.ops.smooth_floor([0.5, 1.5, -0.5], sharpness=50.0)
    >>> [round(float(v), 4) for v in y]
    [0.0, 1.0, -1.0]
    """
    x, dtype = to_float32(x, rank=0)
    sharpness = check_sharpness(sharpness, tensor=False)
    if sharpness <= _STAIRCASE:
        return ops.cast(x - 0.5, dtype)
    step = ops.stop_gradient(ops.floor(x))
    r = (x - step)[..., None]  # in [0, 1)
    n = 1 + math.ceil(18.0 / sharpness)  # further terms are below 1e-7
    n = ops.arange(n, dtype=x.dtype)
    up = ops.sigmoid(sharpness * (r - 1.0 - n))
    down = ops.sigmoid(-sharpness * (r + n))  # 1 - σ
    return ops.cast(step + ops.sum(up - down, axis=-1), dtype)


def to_float32(x, rank=1):
    """Returns `x` in float32, or in float64 if it is, and the result's dtype.

    Args:
        x: a tensor, or a value that can be converted to one.
        rank: int, the least number of axes.

    Returns:
        `(tensor, dtype)`; the dtype is that of `x` if it is a float dtype,
        else float32.

    Raises:
        ValueError: if `x` has fewer axes.
    """
    if not isinstance(x, keras.KerasTensor):
        x = ops.convert_to_tensor(x)
    if len(x.shape) < rank:
        raise ValueError(
            f"`x` must have at least {rank} axes. Received: shape={x.shape}"
        )
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not keras.backend.is_float_dtype(dtype):
        dtype = "float32"
    return ops.cast(x, "float64" if dtype == "float64" else "float32"), dtype


def check_sharpness(sharpness, dtype="float32", tensor=True):
    """Returns `sharpness` as a `float`, or as a tensor of `dtype`.

    Args:
        sharpness: the argument that was received.
        dtype: dtype of the tensor that it multiplies.
        tensor: bool. Whether a tensor is accepted.

    Raises:
        ValueError: if `sharpness`, or a known entry of it, is not a finite
            number above 0.
    """
    if not tensor or not ops.is_tensor(sharpness):
        return check_positive("sharpness", sharpness)
    if is_known(sharpness):
        values = ops.convert_to_numpy(ops.cast(sharpness, "float32"))
        if not ((values > 0) & (values < math.inf)).all():
            raise ValueError(
                "`sharpness` must be above 0 and finite. "
                f"Received: sharpness={values}"
            )
    return ops.cast(sharpness, dtype)
