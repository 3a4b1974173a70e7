"""Transformers as slow NumPy loops, in float64, read from their formulas."""

import math

import numpy as np


def weights_of(model):
    """Returns the weights of each layer, by its name, in float64."""
    return {
        layer.name: [np.asarray(w, "float64") for w in layer.get_weights()]
        for layer in model.layers
    }


gelu = np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))))


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def norm(x, weights=(), epsilon=1e-12, zero_mean=True):
    """(x - mean) / √(mean of squares + ε) · γ + β; weights are β, γ or γ."""
    if zero_mean:
        x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
    if len(weights):
        x = x * weights[-1]
    return x + weights[0] if len(weights) == 2 else x


def dense(x, weights):
    y = x @ weights[0]
    return y + weights[1] if len(weights) > 1 else y


def feed_forward(x, weights, act=gelu, gated=False):
    """act(x W + b) W' + b'; gated: act(x W₁) ⊙ (x W₂), then W'."""
    half = len(weights) // 2  # with biases, or without
    if gated:
        first, second, last = weights
        return (act(x @ first) * (x @ second)) @ last
    return dense(act(dense(x, weights[:half])), weights[half:])


def rotate(x, position, base=10000.0):
    """Adjacent features as complex numbers, times exp(i m θ)."""
    d = len(x)
    y = np.empty(d)
    for i in range(d // 2):
        z = complex(x[2 * i], x[2 * i + 1])
        angle = position * base ** (-2 * i / d)
        z *= complex(math.cos(angle), math.sin(angle))
        y[2 * i], y[2 * i + 1] = z.real, z.imag
    return y


def attention(
    x,
    weights,
    may_attend,
    memory=None,
    rotary=False,
    scale=True,
    bias=None,
    relative=None,
):
    """Softmax attention, head by head and pair by pair.

    weights: q, k, v, o, with or without biases; kernels as Keras has them.
    may_attend(b, i, j): whether query i of sample b may attend to key j.
    bias(h, i, j): added to the scores. relative(i, j): a vector, added to key
    and value.
    """
    memory = x if memory is None else memory
    biased = len(weights) == 8
    wq, wk, wv, wo = weights[::2] if biased else weights
    bq, bk, bv, bo = weights[1::2] if biased else (0, 0, 0, 0)
    q = np.einsum("bnd,dhk->bnhk", x, wq) + bq
    k = np.einsum("bnd,dhk->bnhk", memory, wk) + bk
    v = np.einsum("bnd,dhk->bnhk", memory, wv) + bv
    batch, n, heads, dim = q.shape
    shared = heads // k.shape[2]  # queries' heads to one of keys
    context = np.zeros((batch, n, heads, v.shape[-1]))
    for b in range(batch):
        for h in range(heads):
            for i in range(n):
                keys = [j for j in range(k.shape[1]) if may_attend(b, i, j)]
                scores = []
                for j in keys:
                    query, key = q[b, i, h], k[b, j, h // shared]
                    if rotary:
                        query, key = rotate(query, i), rotate(key, j)
                    if relative is not None:
                        key = key + relative(i, j)
                    score = query @ key
                    if scale:
                        score /= math.sqrt(dim)
                    scores.append(score + (bias(h, i, j) if bias else 0))
                for weight, j in zip(
                    softmax(np.array(scores)), keys, strict=True
                ):
                    value = v[b, j, h // shared]
                    if relative is not None:
                        value = value + relative(i, j)
                    context[b, i, h] += weight * value
    return np.einsum("bnhk,hkd->bnd", context, wo) + bo


def everything(b, i, j):
    return True


def causal(b, i, j):
    return j <= i


def post_norm_block(x, w, name, attend, normalize, act=gelu):
    """x ← Norm(x + Attention(x)), x ← Norm(x + FeedForward(x))."""
    attention_name = f"{name}-MultiHeadSelfAttention"
    x = normalize(x + attend(x, w[attention_name]), w[f"{attention_name}-Norm"])
    y = feed_forward(x, w[f"{name}-FeedForward"], act)
    return normalize(x + y, w[f"{name}-FeedForward-Norm"])


def pre_norm_block(x, w, name, attend, normalize, act=gelu, gated=False):
    """x ← x + Attention(Norm(x)), x ← x + FeedForward(Norm(x))."""
    attention_name = f"{name}-MultiHeadSelfAttention"
    y = normalize(x, w[f"{attention_name}-Norm"])
    x = x + attend(y, w[attention_name])
    y = normalize(x, w[f"{name}-FeedForward-Norm"])
    return x + feed_forward(y, w[f"{name}-FeedForward"], act, gated)


def embedded(w, x, segments=True, positions=False):
    """Sum of the rows of tokens, of segment 0 and of positions."""
    e = w["Embedding-Token"][0][x]
    if segments:
        e = e + w["Embedding-Segment"][0][0]
    if positions:
        e = e + w["Embedding-Position"][0][: x.shape[1]]
    return e
