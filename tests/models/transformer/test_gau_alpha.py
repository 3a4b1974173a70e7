"""Article: https://kexue.fm/archives/9052"""

import math

import numpy as np

from tests.models.transformer.reference import (
    embedded,
    gelu,
    norm,
    rotate,
    softmax,
    weights_of,
)
from tests.models.transformer.tiny import SIZES, ids, run, tiny


def unit(x, weights):
    """One gated attention unit, query by query."""
    q_scale, k_scale, kernel, out = weights
    e = SIZES["intermediate_size"]
    u, v, z = np.split(gelu(x @ kernel), [e, 2 * e], axis=-1)
    y = np.zeros_like(u)
    for b in range(len(x)):
        for i in range(x.shape[1]):
            q = rotate(z[b, i] * q_scale, i)
            keys = [rotate(z[b, j] * k_scale, j) for j in range(x.shape[1])]
            n = max(x.shape[1], 16)
            scale = math.log(n) / math.log(512) / math.sqrt(len(q))
            a = softmax(np.array([q @ k for k in keys]) * scale)
            y[b, i] = u[b, i] * (a @ v[b])
    return y @ out


def test_blocks_are_gated_attention_units():
    model = tiny("gau_alpha")
    w = weights_of(model)
    h = norm(embedded(w, ids()), epsilon=1e-7, zero_mean=False)
    for i in range(2):
        y = unit(h, w[f"Transformer-{i}-GatedAttentionUnit"])
        h = norm(h + y, epsilon=1e-7, zero_mean=False)
    np.testing.assert_allclose(run(model, ids()), h, atol=2e-5)
