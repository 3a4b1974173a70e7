"""Sparse attention, whose cost grows only with the attended positions."""

import keras
import numpy as np
from keras import ops

from su_models.backend.precision import accumulated_einsum
from su_models.utils.checks import is_integer

_FAR = -1e30  # masked scores: below every real score, but finite
_LEAST = -1e29  # so that a row without keys has zero weights
_BLOCKS = 64, 256  # least and largest number of queries in a block


def local_attention(
    q, k, v, window, causal=False, key_mask=None, pair_mask=None, drop=None
):
    """Attends to the positions that are at most `window` away.

    Article: https://kexue.fm/archives/6853
        《为节约而生：从标准Attention到稀疏Attention》

    Query i attends to the keys j with |i - j| ≤ window:

        softmax(q_i·k_j / √d) v_j, summed over these j       Eq. (1)

    Each block of queries is multiplied only by the keys within its reach, so
    time and memory are O(n window). A key that is masked, or outside the
    sequence or the window, has no weight. A query that may attend to no key
    has context 0. Softmax and sums are in float32, or in float64 if q is.

    Args:
        q: `(batch, n, heads, key_dim)`.
        k: as `q`.
        v: `(batch, n, heads, head_dim)`.
        window: int >= 0. It may exceed n.
        causal: whether keys after the query are excluded.
        key_mask: booleans `(1|batch, n)`, True for keys to attend to.
        pair_mask: booleans `(1|batch, 1|n, n)`; only the pairs of the pattern
            are read.
        drop: optional function that is applied to the weights, such as
            dropout.

    Returns:
        A tensor `(batch, n, heads, head_dim)` of the dtype of `v`.

    Raises:
        ValueError: if `window` is not an integer >= 0, or shapes do not agree.

    Example:

    >>> x = keras.random.normal((2, 1000, 4, 64))
    >>> tuple(su_models.ops.local_attention(x, x, x, window=16).shape)
    (2, 1000, 4, 64)
    """
    check_window(window)
    _check_shapes(q, k, v)
    if 0 in v.shape:
        return ops.zeros_like(v)
    key_mask, pair_mask = _masks(key_mask, pair_mask)
    parts = _local(q, k, v, window, causal, key_mask, pair_mask, drop)
    return _joined([parts], v.dtype)


def atrous_attention(
    q, k, v, rate, causal=False, key_mask=None, pair_mask=None, drop=None
):
    """Attends to the positions whose distance is a multiple of `rate`.

    Article: https://kexue.fm/archives/6853
        《为节约而生：从标准Attention到稀疏Attention》

    Query i attends to itself and to the keys j with j ≡ i (mod rate). The
    sequence is split into `rate` sequences with dense attention in each, so
    time and memory are O(n²/rate); the total together with a window is least
    at rate = √n.

    Args:
        q: `(batch, n, heads, key_dim)`.
        k: as `q`.
        v: `(batch, n, heads, head_dim)`.
        rate: int > 0. It may exceed n.
        causal: whether keys after the query are excluded.
        key_mask: booleans `(1|batch, n)`, True for keys to attend to.
        pair_mask: booleans `(1|batch, 1|n, n)`; only the pairs of the pattern
            are read.
        drop: optional function that is applied to the weights, such as
            dropout.

    Returns:
        A tensor `(batch, n, heads, head_dim)` of the dtype of `v`.

    Raises:
        ValueError: if `rate` is not an integer > 0, or shapes do not agree.

    Example:

    >>> x = keras.random.normal((2, 1000, 4, 64))
    >>> tuple(su_models.ops.atrous_attention(x, x, x, rate=32).shape)
    (2, 1000, 4, 64)
    """
    check_rate(rate)
    _check_shapes(q, k, v)
    if 0 in v.shape:
        return ops.zeros_like(v)
    key_mask, pair_mask = _masks(key_mask, pair_mask)
    parts = _atrous(q, k, v, rate, causal, key_mask, pair_mask, drop)
    return _joined([parts], v.dtype)


def sparse_attention(
    q,
    k,
    v,
    rate,
    window,
    causal=False,
    key_mask=None,
    pair_mask=None,
    drop=None,
):
    """Attends to nearby positions, and to every `rate`-th one farther away.

    Article: https://kexue.fm/archives/6853
        《为节约而生：从标准Attention到稀疏Attention》
    Paper: https://arxiv.org/abs/1904.10509

    Query i attends to the keys j with |i - j| ≤ window or j ≡ i (mod rate):
    the union of `local_attention` and `atrous_attention`, with each key once.
    The two parts are computed separately and share one softmax. With their
    numerators N, largest scores m and sums of weights Z, the result is

        (N₁ e^(m₁-m) + N₂ e^(m₂-m)) / (Z₁ e^(m₁-m) + Z₂ e^(m₂-m)),
        m = max(m₁, m₂)

    Args:
        q: `(batch, n, heads, key_dim)`.
        k: as `q`.
        v: `(batch, n, heads, head_dim)`.
        rate: int > 0. It may exceed n.
        window: int >= 0. It may exceed n.
        causal: whether keys after the query are excluded.
        key_mask: booleans `(1|batch, n)`, True for keys to attend to.
        pair_mask: booleans `(1|batch, 1|n, n)`; only the pairs of the pattern
            are read.
        drop: optional function that is applied to the weights, such as
            dropout.

    Returns:
        A tensor `(batch, n, heads, head_dim)` of the dtype of `v`.

    Raises:
        ValueError: if `rate` is not an integer > 0, `window` is not an integer
            >= 0, or shapes do not agree.

    Example:

    >>> x = keras.random.normal((2, 1000, 4, 64))
    >>> y = su_models.ops.sparse_attention(x, x, x, rate=32, window=16)
    >>> tuple(y.shape)
    (2, 1000, 4, 64)
    """
    check_rate(rate)
    check_window(window)
    _check_shapes(q, k, v)
    if 0 in v.shape:
        return ops.zeros_like(v)
    key_mask, pair_mask = _masks(key_mask, pair_mask)
    near = _local(q, k, v, window, causal, key_mask, pair_mask, drop)
    far = _atrous(
        q, k, v, rate, causal, key_mask, pair_mask, drop, beyond=window
    )
    return _joined([near, far], v.dtype)


# ---- parts: N `(b, n, h, dim)`, m and Z `(b, n, h, 1)`, in `sum_dtype`


def _local(q, k, v, window, causal, key_mask, pair_mask, drop):
    n, length = q.shape[1], ops.shape(q)[1]
    size, left, right = _tiling(n, window, causal)
    count = -(-length // size)
    span = left + size + right
    tail = count * size - length

    def blocks(x):  # (b, n, ...) -> (b, blocks, size, ...)
        x = _pad(x, 0, tail)
        return ops.reshape(x, (-1, count, size, *x.shape[2:]))

    def spans(x):  # (b, n, ...) -> (b, blocks, span, ...)
        whole, rest = divmod(span, size)
        more = whole + bool(rest) - 1  # further blocks that a span reaches
        x = _pad(x, left, tail + more * size - left)
        x = ops.reshape(x, (-1, count + more, size, *x.shape[2:]))
        parts = [x[:, i : i + count] for i in range(more + 1)]
        parts[-1] = parts[-1][:, :, : rest or size]
        return ops.concatenate(parts, axis=2) if more else parts[0]

    i, j = np.arange(size)[:, None], np.arange(span) - left
    keep = np.abs(i - j) <= window
    if causal:
        keep &= j <= i
    real = spans(_real(length) if key_mask is None else key_mask)
    real = ops.expand_dims(real, 2)  # (1|b, blocks, 1, span)
    if pair_mask is not None:
        start = ops.arange(count, dtype="int32")[:, None, None] * size
        rows, columns = (ops.convert_to_tensor(x, "int32") for x in (i, j))
        real = real & _pairs(pair_mask, start + rows, start + columns)
    parts = _parts(
        "bcXhd", blocks(_scaled(q)), spans(k), spans(v), keep, real, drop
    )
    return [_flat(x, n, length, count * size) for x in parts]


def _atrous(q, k, v, rate, causal, key_mask, pair_mask, drop, beyond=-1):
    """Computes the parts like `_local`, without keys at most `beyond` away."""
    n, length = q.shape[1], ops.shape(q)[1]
    rate = rate if n is None else min(rate, n)
    count = -(-length // rate)
    tail = count * rate - length

    def dealt(x):  # (b, n, ...) -> (b, count, rate, ...)
        x = _pad(x, 0, tail)
        return ops.reshape(x, (-1, count, rate, *x.shape[2:]))

    near = ops.arange(count, dtype="int32")
    i, j = near[:, None], near
    keep = ops.abs(i - j) > beyond // rate
    if causal:
        keep = keep & (j <= i)
    real = dealt(_real(length) if key_mask is None else key_mask)
    real = ops.expand_dims(ops.transpose(real, (0, 2, 1)), 2)  # (b, c, 1, k)
    if pair_mask is not None:
        shift = ops.arange(rate, dtype="int32")[:, None, None]
        pairs = _pairs(pair_mask, i * rate + shift, j * rate + shift)
        real = real & pairs
    parts = _parts(
        "bXchd", dealt(_scaled(q)), dealt(k), dealt(v), keep, real, drop
    )
    return [_flat(x, n, length, count * rate) for x in parts]


def _joined(parts, dtype):
    """Returns the softmax over all parts together."""
    m = parts[0][1]
    for _, other, _ in parts[1:]:
        m = ops.maximum(m, other)
    numerator, total = 0.0, 0.0
    for context, largest, z in parts:
        # with a single part m = largest, so the factor is 1
        factor = 1.0 if len(parts) == 1 else ops.exp(largest - m)
        numerator = numerator + context * factor
        total = total + z * factor
    # a sum is at least 1, or 0 for a query without keys
    total = ops.maximum(total, 0.5)
    return ops.cast(numerator / total, dtype)


def _parts(layout, q, k, v, keep, real, drop):
    """Returns N, m, Z of attention within each tile.

    Args:
        layout: axes of q, k, v: batch b, tile c, slot X, head h, feature d.
        q: queries in tiles, scaled.
        k: keys in tiles.
        v: values in tiles.
        keep: booleans `(queries, keys)`, the pattern.
        real: booleans `(1|b, tiles, 1|queries, keys)`, the masks.
        drop: a function of the weights, or None.

    Returns:
        Three tensors in the layout of q; m and Z have one feature.
    """
    queries, keys = layout.replace("X", "q"), layout.replace("X", "k")
    scores = accumulated_einsum(f"{queries},{keys}->bchqk", q, k)
    keep = ops.logical_and(keep, ops.expand_dims(real, 2))
    scores = ops.where(keep, scores, _FAR)
    m = ops.max(ops.stop_gradient(scores), axis=-1, keepdims=True)
    m = ops.maximum(m, _LEAST)
    e = ops.exp(scores - m)  # (b, c, h, q, k)
    z = ops.sum(e, axis=-1, keepdims=True)  # (b, c, h, q, 1)
    m, sums = (ops.einsum(f"bchqd->{queries}", x) for x in (m, z))
    half = keras.backend.standardize_dtype(v.dtype) == "float16"
    if half:  # float16 ends at 65504, and products may sum in float16
        e = e / ops.maximum(z, 0.5)
    e = ops.cast(e if drop is None else drop(e), v.dtype)
    context = accumulated_einsum(f"bchqk,{keys}->{queries}", e, v)
    return context * sums if half else context, m, sums


def _flat(x, n, length, filled):
    """Returns `(b, n, ...)` from `(b, ., ., ...)`, without the padding."""
    x = ops.reshape(x, (-1, filled, *x.shape[3:]))
    return x if n == filled else x[:, :length]


# ---- tiles


def _tiling(n, window, causal):
    """Returns the numbers of queries in a block, and of keys around it."""
    least, most = _BLOCKS
    if n is not None:
        window = min(window, n - 1)
    size = least
    while size < most and 2 * size <= window:
        size *= 2
    right = 0 if causal else window
    if n is not None and n <= size + window + right:
        return n, 0, 0  # one block is no larger than its span
    return size, window, right


def _scaled(q):
    """Divides q by √d, before the product: float16 ends at 65504."""
    return q * (q.shape[-1] ** -0.5)


def _pad(x, before, after):
    """Pads the second axis with zeros; `after` may be a tensor."""
    if not ops.is_tensor(after) and not (before or after):
        return x
    rest = [[0, 0]] * (len(x.shape) - 2)
    return ops.pad(x, [[0, 0], [before, after], *rest])


def _real(length):
    """Returns the key mask of a sequence without padding, `(1, n)`."""
    return ops.ones((1, length), "bool")


def _pairs(pair_mask, rows, columns):
    """Returns a pair mask at the given pairs, `(1|b, ...)`.

    Pairs outside the sequence get arbitrary values; they are masked anyway.
    """
    n = ops.shape(pair_mask)[-1]
    rows, columns = (ops.clip(x, 0, n - 1) for x in (rows, columns))
    flat = ops.reshape(pair_mask, (-1, n * n))
    return ops.take(flat, rows * n + columns, axis=1)


# ---- arguments


def _masks(key_mask, pair_mask):
    """Returns boolean tensors; a pair mask with one query is a key mask."""
    if key_mask is not None:
        key_mask = ops.cast(key_mask, "bool")
    if pair_mask is None:
        return key_mask, None
    pair_mask = ops.cast(pair_mask, "bool")
    if pair_mask.shape[1] != 1:
        return key_mask, pair_mask
    same = pair_mask[:, 0]
    return same if key_mask is None else key_mask & same, None


def check_rate(rate):
    """Rejects a rate that is not an integer > 0.

    Args:
        rate: the argument that was received.

    Raises:
        ValueError: if it is not such an integer.
    """
    if not is_integer(rate) or rate <= 0:
        raise ValueError(
            f"`rate` must be a positive integer. Received: rate={rate!r}"
        )


def check_window(window):
    """Rejects a window that is not an integer >= 0.

    Args:
        window: the argument that was received.

    Raises:
        ValueError: if it is not such an integer.
    """
    if not is_integer(window) or window < 0:
        raise ValueError(
            f"`window` must be an integer >= 0. Received: window={window!r}"
        )


def _check_shapes(q, k, v):
    shapes = [tuple(x.shape) for x in (q, k, v)]
    same = shapes[0] == shapes[1] and shapes[1][:-1] == shapes[2][:-1]
    if not same or len(shapes[0]) != 4:
        raise ValueError(
            "`q` and `k` must be `(batch, n, heads, key_dim)` and `v` "
            "`(batch, n, heads, head_dim)`, of the same n. "
            f"Received: q, k, v of shapes {shapes}"
        )
