"""Decoding as slow NumPy loops over one sample, without a cache.

`score(tokens)` returns the logits of the token after a list of generated ones.
All functions return `(ids, score)`, without padding.
"""

import numpy as np


def log_softmax(x):
    x = np.asarray(x, "float64")
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def processed(
    score,
    tokens,
    end_id=None,
    min_new_tokens=0,
    temperature=1.0,
    repetition_penalty=1.0,
    prompt=(),
    allowed=None,
):
    """Returns the log-probabilities of the next token."""
    logits = np.array(score(tokens), "float64")
    for token in {*prompt, *tokens} if repetition_penalty != 1 else ():
        if logits[token] > 0:
            logits[token] /= repetition_penalty
        else:
            logits[token] *= repetition_penalty
    logits /= temperature
    if end_id is not None and len(tokens) < min_new_tokens:
        logits[end_id] = -np.inf
    if allowed is not None:
        for token in range(len(logits)):
            if token not in allowed(tokens):
                logits[token] = -np.inf
    return log_softmax(logits)


def greedy(score, n, end_id=None, **options):
    tokens, total = [], 0.0
    while len(tokens) < n:
        logp = processed(score, tokens, end_id, **options)
        tokens.append(int(logp.argmax()))
        total += logp[tokens[-1]]
        if tokens[-1] == end_id:
            break
    return tokens, total


def sample(score, n, uniforms, top_k=None, top_p=None, end_id=None, **options):
    tokens, total = [], 0.0
    while len(tokens) < n:
        logp = processed(score, tokens, end_id, **options)
        p = distribution(np.exp(logp), top_k, top_p)
        cumulative = p.cumsum()
        u = uniforms[len(tokens)] * cumulative[-1]
        tokens.append(int(np.flatnonzero(cumulative > u)[0]))
        total += logp[tokens[-1]]
        if tokens[-1] == end_id:
            break
    return tokens, total


def distribution(p, top_k=None, top_p=None):
    """Returns p after top-k, then top-p of what remains."""
    p = p.copy()
    order = np.argsort(-p)
    if top_k is not None:
        p[order[top_k:]] = 0
    if top_p is not None:
        p /= p.sum()
        count = 1 + np.flatnonzero(p[order].cumsum() >= top_p - 1e-9)[0]
        p[order[count:]] = 0
    return p / p.sum()


def beam_search(
    score, n, beam_size, end_id=None, length_penalty=1.0, **options
):
    """The rule of transformers with early_stopping=False.

    Returns the finished sequences, best first.
    """
    running, finished = [(0.0, [])], []
    for length in range(1, n + 1):
        candidates = []
        for total, tokens in running:
            logp = processed(score, tokens, end_id, **options)
            for token, gain in enumerate(logp):
                if gain > -np.inf:
                    candidates.append((total + gain, [*tokens, token]))
        candidates.sort(key=lambda c: -c[0])
        running = []
        for rank, (total, tokens) in enumerate(candidates[: 2 * beam_size]):
            ends = tokens[-1] == end_id
            if (ends or length == n) and rank < beam_size:
                finished.append((total / length**length_penalty, tokens))
            if not ends and len(running) < beam_size:
                running.append((total, tokens))
        finished = sorted(finished, key=lambda c: -c[0])[:beam_size]
        if not running or (
            len(finished) == beam_size
            and running[0][0] / length**length_penalty <= finished[-1][0]
        ):
            break
    return [(tokens, total) for total, tokens in finished]


def bert4keras_beam_search(score, n, topk, end_id=None, minlen=1, **options):
    """The rule of bert4keras: finished beams that are not best are lost."""
    beams = [(0.0, [])]
    for length in range(1, n + 1):
        candidates = []
        for total, tokens in beams:
            p = np.exp(processed(score, tokens, **options))
            for token, gain in enumerate(np.log(p + 1e-12)):
                candidates.append((total + gain, [*tokens, token]))
        candidates.sort(key=lambda c: -c[0])
        beams = candidates[:topk]
        if length >= minlen:
            if beams[0][1][-1] == end_id:
                break
            beams = [beam for beam in beams if beam[1][-1] != end_id]
            topk = len(beams)
    return beams[0][1], beams[0][0]


def padded(tokens, n):
    return [*tokens, *[0] * (n - len(tokens))]
