"""Who attends to whom in article 6853, as dense masks, by definition."""

import numpy as np


def pattern(n, rate=None, window=None, causal=False):
    """Returns `(n, n)`: j ≡ i (mod rate), or |i - j| ≤ window, or either."""
    i, j = np.arange(n)[:, None], np.arange(n)
    keep = np.zeros((n, n), bool)
    if rate is not None:
        keep |= (i - j) % rate == 0
    if window is not None:
        keep |= abs(i - j) <= window
    return keep & (j <= i) if causal else keep


def attend(q, k, v, keep):
    """Eq. (1), one sample, head and query at a time; `keep` `(b, n, n)`."""
    out = np.zeros(v.shape)
    for b, i, h in np.ndindex(q.shape[:3]):
        keys = np.flatnonzero(keep[b, i])
        if len(keys):
            a = k[b, keys, h] @ q[b, i, h] / q.shape[-1] ** 0.5
            a = np.exp(a - a.max())
            out[b, i, h] = a @ v[b, keys, h] / a.sum()
    return out
