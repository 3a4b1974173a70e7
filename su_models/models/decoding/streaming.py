"""Runs a program token by token, for what looks at each token."""

import functools

import numpy as np
from keras import ops

from su_models.generation.beam_search import BeamSearch


def runner(program, search, stream=None, stop_strings=None, tokenizer=None):
    """Returns a function of inputs and a number of tokens.

    Args:
        program: a `Program`.
        search: the class of its search.
        stream, stop_strings, tokenizer: see `generate`.

    Raises:
        ValueError: if an argument is not as described there.
    """
    if stream is None and stop_strings is None:
        return program.run
    given = "stream" if stream is not None else "stop_strings"
    if search is BeamSearch:
        raise ValueError(
            f"Beam search has no `{given}`, since its beams change. "
            f"Received: {given}"
        )
    if stream is not None and not callable(stream):
        raise ValueError(
            f"`stream` must be a function. Received: stream={stream!r}"
        )
    stops = []
    if stop_strings is not None:
        stops = (
            [stop_strings] if isinstance(stop_strings, str) else stop_strings
        )
        stops = list(stops)
        if not stops or not all(isinstance(s, str) and s for s in stops):
            raise ValueError(
                "`stop_strings` must be strings, not empty. "
                f"Received: stop_strings={stop_strings!r}"
            )
        if not hasattr(tokenizer, "decode"):
            raise ValueError(
                "`stop_strings` need a `tokenizer` with a method `decode`. "
                f"Received: tokenizer={tokenizer!r}"
            )
    return functools.partial(_run_in_parts, program, stream, stops, tokenizer)


def _run_in_parts(program, stream, stops, tokenizer, inputs, limit):
    """Runs the program step by step, with a look at each token."""
    state = program.begin(inputs)
    for step in range(limit):
        state = program.advance(state, step + 1)
        ids = ops.convert_to_numpy(state["ids"])
        done = ops.convert_to_numpy(state["done"]).copy()
        for place in zip(*np.nonzero(~done), strict=True):
            if stops:
                text = tokenizer.decode(ids[place][: step + 1].tolist())
                done[place] = any(stop in text for stop in stops)
        state["done"] = ops.convert_to_tensor(done)
        if stream is not None:
            tokens = ids[..., step]
            stream(step, tokens[:, 0] if tokens.shape[1] == 1 else tokens)
        failed = ops.convert_to_numpy(state["status"]) >= 0
        if (done.all(axis=1) | failed).all():
            break
    return program.end(state)
