"""Who attends to whom in article 6853, as dense masks, by definition."""

import numpy as np

from su_models.layers import MultiHeadAttention
from tests.contract import normal, to_numpy


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


def beside_dense(layer_class, init, **more):
    """Returns a sparse layer and the dense one, of the same variables."""
    more = {"num_heads": 3, "head_dim": 4, **more}
    dense = MultiHeadAttention(**more, bias_initializer="uniform")
    layer = layer_class(**more, **init)
    for attention in (dense, layer):
        attention.build((None, None, 6))
    layer.set_weights(dense.get_weights())
    return layer, dense


def check_equals_dense(layer_class, init, n, causal, more):
    """Fails unless the layer is the dense one with the pattern as its mask."""
    if not more.get("use_bias", True):
        more = {**more, "kernel_initializer": "he_normal"}
    layer, dense = beside_dense(layer_class, init, **more)
    x = 2 * normal(2, n, 6)
    got = to_numpy(layer(x, use_causal_mask=causal))
    keep = pattern(n, **init, causal=causal)[None]
    want = to_numpy(dense(x, attention_mask=keep))
    np.testing.assert_allclose(got, want, atol=1e-5)


MORE = (
    {},
    {"key_dim": 6, "output_dim": 5, "use_bias": False},
    {"rotary_base": 500.0},
)
