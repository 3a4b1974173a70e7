"""A language model whose state is a sum, with and without a cache."""

import numpy as np
from keras import ops

SIZE, DIM = 11, 5
_random = np.random.default_rng(7)
TABLE = _random.normal(size=(SIZE, DIM)).astype("float32") * 1.5
HEAD = _random.normal(size=(DIM, SIZE)).astype("float32")
FIRST = np.array([3, 8, 5], "int32")  # the last tokens of three prompts


def score(first):
    """Returns a function of the tokens generated after `first`."""

    def logits(tokens):
        h = np.zeros(DIM)
        for token in [first, *tokens]:
            h = 0.6 * h + TABLE[token]
        return h @ HEAD

    return logits


def empty(rows, batch=3):
    return ops.zeros((batch, rows, DIM))


def step(tokens, cache, index):
    cache = 0.6 * cache + ops.take(ops.convert_to_tensor(TABLE), tokens, 0)
    return ops.matmul(cache, ops.convert_to_tensor(HEAD)), cache


def run(search, **kwargs):
    """Returns ids and scores of a search in one compiled program."""
    from su_models.backend.compile import compiled

    tensors = {k: kwargs.pop(k) for k in ("history", "uniforms") if k in kwargs}

    def program(first, tensors):
        result = search(step, first, empty(search.rows), **tensors, **kwargs)
        return tuple(result)

    ids, scores, status = compiled(program)(FIRST, tensors)
    return tuple(ops.convert_to_numpy(x) for x in (ids, scores, status))
