"""Sampling from the model's distribution, or from its most probable part."""

from keras import ops

from su_models.backend.indices import slice_at
from su_models.generation.base import RowSearch
from su_models.generation.gather_rows import at_rank
from su_models.utils.checks import check_number, check_size

_BLOCK = 128  # entries of a block of the vocabulary


class RandomSampling(RowSearch):
    """Draws each token at random.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Paper: https://arxiv.org/abs/1904.09751

    `top_k` keeps the k most probable tokens, and all that are as probable as
    the last of them. Then `top_p` keeps the smallest set of most probable
    tokens whose share of the remaining probability reaches p; it is found by
    a bisection for its least probability, without sorting the vocabulary.

    The token is the first whose cumulative probability exceeds a uniform
    number, so that the result depends only on the uniform numbers, on every
    backend.

    Args:
        max_new_tokens: int > 0. The number of tokens to generate.
        num_samples: int > 0. Independent draws for each prompt.
        top_k: optional int > 0.
        top_p: optional float in (0, 1].
        **kwargs: see `su_models.generation.base.Search`.

    Call arguments:
        step, tokens, cache, limit, history, reorder: see `Search`.
        uniforms: numbers in [0, 1), `(batch, num_samples, max_new_tokens)`.

    Returns:
        A `Generated`. Scores are sums of log-probabilities before `top_k` and
        `top_p`.

    Example:

    >>> def step(tokens, cache, index):
    ...     return keras.ops.zeros((1, 2, 5)), cache  # 5 equal tokens
    >>> search = su_models.generation.RandomSampling(3, num_samples=2)
    >>> uniforms = [[[0.0, 0.5, 0.99], [0.3, 0.3, 0.3]]]
    >>> ids = search(step, keras.ops.array([0]), (), uniforms=uniforms).ids
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [[[0, 2, 4], [1, 1, 1]]]
    """

    def __init__(
        self, max_new_tokens, num_samples=1, top_k=None, top_p=None, **kwargs
    ):
        super().__init__(max_new_tokens, **kwargs)
        self.rows = check_size("num_samples", num_samples)
        self.top_k = check_size("top_k", top_k, optional=True)
        self.top_p = check_number(
            "top_p", top_p, above=0, most=1, optional=True
        )

    def begin(self, tokens, cache, history=None, uniforms=None):
        state = super().begin(tokens, cache, history)
        uniforms = ops.convert_to_tensor(uniforms, "float32")
        shape = tuple(uniforms.shape)
        if shape[1:] != (self.rows, self.max_new_tokens):
            raise ValueError(
                "`uniforms` must be (batch, num_samples, max_new_tokens). "
                f"Received: uniforms of shape {shape}"
            )
        return {**state, "uniforms": uniforms}

    def pick(self, log_probs, state):
        p = ops.exp(ops.cast(log_probs, "float32"))  # (b, rows, v)
        if self.top_k is not None:
            p = keep_top_k(p, self.top_k)
        if self.top_p is not None and self.top_p < 1:
            p = keep_top_p(p, self.top_p)
        column = state["uniforms"]  # (b, rows, n)
        shape = (*ops.shape(column)[:2], 1)
        column = slice_at(column, (0, 0, state["index"]), shape)
        return inverse_cdf(p, column[..., 0])


def keep_top_k(p, k):
    """Returns p with zeros below the k-th largest entry.

    Args:
        p: probabilities, `(..., v)`.
        k: int > 0. If it is v or more, nothing changes.
    """
    if k >= p.shape[-1]:
        return p
    # the least of them: XLA would sort for a slice of the result
    least = ops.min(ops.top_k(p, k)[0], axis=-1, keepdims=True)
    return ops.where(p >= least, p, 0.0)


def keep_top_p(p, top_p):
    """Returns p with zeros outside of its nucleus.

    The nucleus is the smallest set of largest entries whose sum is at least
    `top_p` times the sum of all. Its least entry is found by a bisection over
    the bits of a float, whose order is that of the floats.

    Args:
        p: float32, at least 0, `(..., v)`.
        top_p: float in (0, 1).
    """
    enough = top_p * ops.sum(p, axis=-1, keepdims=True)
    low = ops.zeros_like(enough, "int32")
    high = ops.view(ops.max(p, axis=-1, keepdims=True), "int32") + 1

    def halve(_, bounds):
        # the entries from `low` on suffice, those from `high` on do not
        low, high = bounds
        middle = low + (high - low) // 2
        kept = ops.where(p >= ops.view(middle, "float32"), p, 0.0)
        some = ops.sum(kept, axis=-1, keepdims=True) >= enough
        return ops.where(some, middle, low), ops.where(some, high, middle)

    low, _ = ops.fori_loop(0, 31, halve, (low, high))
    return ops.where(p >= ops.view(low, "float32"), p, 0.0)


def inverse_cdf(p, u):
    """Returns the first index whose cumulative sum exceeds u times the total.

    Sums are taken in two levels, blocks and entries of a block, which is
    faster than a cumulative sum of the vocabulary. An entry of 0 is never
    returned.

    Args:
        p: float32, at least 0 and not all 0, `(..., v)`.
        u: float32 in [0, 1), `(...)`.

    Returns:
        int32 `(...)`.
    """
    v = p.shape[-1]
    blocks = -(-v // _BLOCK)
    padding = [[0, 0]] * (len(p.shape) - 1) + [[0, blocks * _BLOCK - v]]
    p = ops.pad(p, padding)
    p = ops.reshape(p, (*ops.shape(p)[:-1], blocks, _BLOCK))
    sums = ops.sum(p, axis=-1)  # (..., blocks)
    target = u * ops.sum(sums, axis=-1)
    block, before = _first_above(sums, target)
    inner = ops.take_along_axis(p, block[..., None, None], axis=-2)[..., 0, :]
    entry, _ = _first_above(inner, target - before)
    return block * _BLOCK + entry


def _first_above(x, target):
    """Returns the first i with x_0 + ... + x_i > target, and the sum before.

    Only positive entries are returned; the last one if rounding leaves none.
    """
    sums = ops.cumsum(x, axis=-1)
    index = ops.arange(x.shape[-1], dtype="int32")
    positive = x > 0
    above = positive & (sums > target[..., None])
    last = ops.max(ops.where(positive, index, 0), axis=-1)
    first = ops.min(ops.where(above, index, x.shape[-1]), axis=-1)
    found = ops.minimum(first, last)
    return found, at_rank(sums - x, found)
