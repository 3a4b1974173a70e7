"""Base of the searches: one loop that knows no model."""

import collections
import math

import keras
from keras import ops

from su_models.backend.indices import update_slice
from su_models.backend.precision import accumulated_sum, sum_dtype
from su_models.generation.gather_rows import gather_rows
from su_models.generation.trie import Trie
from su_models.utils.checks import (
    check_integer,
    check_mask,
    check_positive,
    check_shape,
    check_size,
)

# The result of a search: ids, int32 `(batch, n, max_new_tokens)`, 0 after
# `end_id`; scores, floats `(batch, n)`; and `status`, int32 `(batch,)`: -1, or
# where the search of a sample failed, as `failure` explains it.
Generated = collections.namedtuple("Generated", ["ids", "scores", "status"])

_NAN, _NOTHING = 0, 1
_REASONS = {
    _NAN: "the model's scores are NaN or infinite",
    _NOTHING: "`allowed_tokens` allows no token",
}


def failure(status):
    """Returns the step and the reason of a failure, or None.

    Args:
        status: int, an entry of `Generated.status`.
    """
    if status < 0:
        return None
    step, kind = divmod(int(status), len(_REASONS))
    return step, _REASONS[kind]


class Search:
    """Base of greedy search, beam search and sampling.

    A search calls `step(tokens, cache, index)` until all samples are done or
    there are `max_new_tokens`. It keeps `rows` continuations of each sample:
    beams, or independent draws. All of it is `keras.ops` of fixed shapes, so
    the loop can be part of a compiled program.

    A subclass sets `rows` and defines `choose(log_probs, state)`.

    Args:
        max_new_tokens: int > 0. The number of tokens to generate.
        end_id: optional int >= 0. The token that ends a sequence.
        min_new_tokens: int >= 0. `end_id` is not generated before so many
            tokens.
        temperature: float > 0. Divides the scores before the softmax.
        repetition_penalty: float > 0. Divides the scores, or multiplies
            negative ones, of tokens that have occurred.
        allowed_tokens: optional function `(tokens, step)` that returns which
            tokens may follow, booleans `(n, vocabulary)`. `tokens`, `(n,
            max_new_tokens)`, are the rows of all samples, of which the first
            `step` columns are generated. Or a `Trie`.

    Call arguments:
        step: function `(tokens, cache, index)` → `(logits, cache)`: tokens
            int32 `(batch, rows)`, index an int32 scalar, the number of tokens
            generated so far, and logits `(batch, rows, vocabulary)`.
        tokens: int32 `(batch,)`, the last token of each prompt, which is the
            first to be passed to `step`.
        cache: nested tensors, for the first step.
        limit: optional int32 scalar, at most `max_new_tokens`: the number of
            tokens to generate.
        history: booleans `(batch, vocabulary)`, which tokens have occurred in
            the prompts; needed for a `repetition_penalty`.
        reorder: function `(cache, parents)` that returns the cache of the
            rows `parents`, int32 `(batch, rows)`. Defaults to a gather of all
            tensors of the cache, `(batch, rows, ...)`.
        **kwargs: further arguments of the subclass.

    Returns:
        A `Generated`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    rows = 1

    def __init__(
        self,
        max_new_tokens,
        end_id=None,
        min_new_tokens=0,
        temperature=1.0,
        repetition_penalty=1.0,
        allowed_tokens=None,
    ):
        self.max_new_tokens = check_size("max_new_tokens", max_new_tokens)
        self.end_id = check_integer("end_id", end_id, least=0, optional=True)
        self.min_new_tokens = check_integer(
            "min_new_tokens", min_new_tokens, 0, self.max_new_tokens
        )
        self.temperature = check_positive("temperature", temperature)
        self.repetition_penalty = check_positive(
            "repetition_penalty", repetition_penalty
        )
        if not (
            allowed_tokens is None
            or isinstance(allowed_tokens, Trie)
            or callable(allowed_tokens)
        ):
            raise ValueError(
                "`allowed_tokens` must be a function or a `Trie`. "
                f"Received: allowed_tokens={allowed_tokens!r}"
            )
        self.allowed_tokens = allowed_tokens

    def __call__(
        self,
        step,
        tokens,
        cache,
        limit=None,
        history=None,
        reorder=None,
        **kwargs,
    ):
        state = self.begin(tokens, cache, history, **kwargs)
        state = self.advance(step, state, limit, reorder)
        return self.end(state)

    def check_vocabulary(self, size):
        """Raises a ValueError for tokens outside a vocabulary.

        Args:
            size: int, the number of tokens.
        """
        check_integer("end_id", self.end_id, 0, size - 1, optional=True)
        trie = self.allowed_tokens
        if isinstance(trie, Trie) and trie.largest >= size:
            raise ValueError(
                f"The tokens of `allowed_tokens` must be below {size}. "
                f"Received: a Trie with {trie.largest}"
            )

    def begin(self, tokens, cache, history=None):
        """Returns the state before the first step, a dict of tensors."""
        tokens = ops.cast(ops.convert_to_tensor(tokens), "int32")
        check_shape("tokens", tokens, (None,))
        # (b, rows), also for an unknown batch size
        zero = ops.zeros_like(tokens)[:, None]
        zero = zero + ops.zeros((1, self.rows), "int32")
        state = {
            "index": ops.convert_to_tensor(0, "int32"),
            "tokens": tokens[:, None] + zero,
            "cache": cache,
            "ids": zero[..., None]
            + ops.zeros((1, 1, self.max_new_tokens), "int32"),
            "scores": ops.cast(zero, "float32"),
            "done": ops.cast(zero, "bool"),
            "status": ops.full_like(tokens, -1),
        }
        if self.repetition_penalty != 1:
            if history is None:
                raise ValueError(
                    "A `repetition_penalty` needs the `history`. Received: "
                    f"repetition_penalty={self.repetition_penalty}, "
                    "history=None"
                )
            history = ops.cast(history, "bool")[:, None]  # (b, 1, v)
            state["seen"] = history | ops.cast(zero, "bool")[..., None]
        if isinstance(self.allowed_tokens, Trie):
            state["nodes"] = zero
        return state

    def advance(self, step, state, limit=None, reorder=None):
        """Returns the state after the steps up to `limit`."""
        limit = self.max_new_tokens if limit is None else limit
        limit = ops.convert_to_tensor(limit, "int32")
        names = sorted(state)

        def more(*values):
            state = dict(zip(names, values, strict=True))
            going = ops.logical_not(self.finished(state))
            return (state["index"] < limit) & ops.any(going)

        def body(*values):
            state = dict(zip(names, values, strict=True))
            state = self._next(step, state, limit, reorder or _reordered)
            return tuple(state[name] for name in names)

        values = ops.while_loop(
            more,
            body,
            tuple(state[name] for name in names),
            maximum_iterations=self.max_new_tokens,
        )
        return dict(zip(names, values, strict=True))

    def end(self, state):
        """Returns the `Generated` of a state."""
        return Generated(state["ids"], state["scores"], state["status"])

    def finished(self, state):
        """Returns which samples need no further step, `(batch,)`."""
        return ops.all(state["done"], axis=1) | (state["status"] >= 0)

    def choose(self, log_probs, state, limit):
        """Chooses the next tokens.

        Args:
            log_probs: `(batch, rows, vocabulary)`.
            state: dict, with `index` of the token to choose.
            limit: int32 scalar, the number of tokens to generate.

        Returns:
            A pair: the changed entries of the state, and the row that each
            row continues, int32 `(batch, rows)`, or None if itself.
        """
        raise NotImplementedError(f"{type(self).__name__}.choose")

    def live(self, state):
        """Returns which rows still matter, booleans `(batch, rows)`."""
        return ops.logical_not(state["done"])

    def _next(self, step, state, limit, reorder):
        state = dict(state)
        logits, state["cache"] = step(
            state["tokens"], state["cache"], state["index"]
        )
        log_probs, state["status"] = self._log_probs(logits, state)
        changes, parents = self.choose(log_probs, state, limit)
        state |= changes
        if parents is not None:
            state["cache"] = reorder(state["cache"], parents)
            for name in {"seen", "nodes"} & {*state}:
                state[name] = gather_rows(state[name], parents)
        tokens = state["tokens"]
        if "seen" in state:
            now = _one_hot(tokens, state["seen"].shape[-1])
            state["seen"] = state["seen"] | now
        if "nodes" in state:
            state["nodes"] = self.allowed_tokens.advance(state["nodes"], tokens)
        state["index"] = state["index"] + 1
        return state

    def _log_probs(self, logits, state):
        """Returns log-probabilities with all bans, and the status."""
        self.check_vocabulary(logits.shape[-1])
        logits = ops.cast(logits, sum_dtype(logits.dtype))  # (b, rows, v)
        live = self.live(state)
        live = live & ops.logical_not(self.finished(state))[:, None]
        unknown = ops.any(ops.isnan(logits), axis=-1)  # (b, rows)
        nothing = None
        if "seen" in state:
            p = self.repetition_penalty
            penalized = ops.where(logits > 0, logits / p, logits * p)
            logits = ops.where(state["seen"], penalized, logits)
        logits = logits / self.temperature
        allowed = self._allowed(state, logits)
        if allowed is not None:
            nothing = ops.logical_not(ops.any(allowed, axis=-1))  # (b, rows)
            allowed = allowed | nothing[..., None]
            logits = ops.where(allowed, logits, -float("inf"))
        log_probs = _log_softmax(logits)
        # infinite scores, or nothing but -inf, have no softmax
        unknown = unknown | ops.any(ops.isnan(log_probs), axis=-1)
        even = -math.log(logits.shape[-1])
        log_probs = ops.where(unknown[..., None], even, log_probs)
        status = state["status"]
        for kind, rows in (_NAN, unknown), (_NOTHING, nothing):
            if rows is not None:
                where = (status < 0) & ops.any(rows & live, axis=1)
                now = state["index"] * len(_REASONS) + kind
                status = ops.where(where, now, status)
        return log_probs, status

    def _allowed(self, state, logits):
        """Returns which tokens may be chosen, `(b, rows, v)`, or None."""
        index, size = state["index"], logits.shape[-1]
        masks = []
        if self.min_new_tokens and self.end_id is not None:
            if self.bans_early_end:
                end = ops.arange(size, dtype="int32") == self.end_id
                early = index < self.min_new_tokens
                mask = ops.logical_not(end & early)  # (v,)
                masks.append(mask | ops.zeros_like(logits, "bool"))
        if "nodes" in state:
            masks.append(
                self.allowed_tokens.allowed(state["nodes"], size, self.end_id)
            )
        elif self.allowed_tokens is not None:
            ids = ops.reshape(state["ids"], (-1, self.max_new_tokens))
            mask = check_mask(
                "allowed_tokens",
                self.allowed_tokens(ids, index),
                "a token may follow",
            )
            check_shape("allowed_tokens", mask, (ids.shape[0], size), 1)
            mask = mask | ops.zeros((1, size), "bool")
            if mask.shape[0] == 1:
                masks.append(mask[None] | ops.zeros_like(logits, "bool"))
            else:
                masks.append(ops.reshape(mask, ops.shape(logits)))
        if not masks:
            return None
        first, *others = masks
        for mask in others:
            first = first & mask
        return first

    bans_early_end = True  # whether `min_new_tokens` bans `end_id`


class RowSearch(Search):
    """Base of searches whose rows are independent of each other.

    A subclass defines `pick(log_probs, state)`, which returns a token for each
    row, int32 `(batch, rows)`. The scores are the sums of the tokens'
    log-probabilities.
    """

    def choose(self, log_probs, state, limit):
        done, index = state["done"], state["index"]
        token = ops.cast(self.pick(log_probs, state), "int32")
        gain = ops.take_along_axis(log_probs, token[..., None], axis=-1)[..., 0]
        over = done | (state["status"] >= 0)[:, None]
        token = ops.where(over, 0, token)
        gain = ops.cast(gain, state["scores"].dtype)
        changes = {
            "tokens": token,
            "ids": update_slice(state["ids"], (0, 0, index), token[..., None]),
            "scores": state["scores"] + ops.where(over, 0.0, gain),
        }
        if self.end_id is not None:
            changes["done"] = done | (token == self.end_id)
        return changes, None

    def pick(self, log_probs, state):
        """Returns the next token of each row, `(batch, rows)`."""
        raise NotImplementedError(f"{type(self).__name__}.pick")


def _reordered(cache, parents):
    """Returns the cache of other rows; all tensors are `(b, rows, ...)`."""
    return keras.tree.map_structure(lambda x: gather_rows(x, parents), cache)


def _one_hot(tokens, size):
    """Returns booleans `(b, rows, size)`."""
    return tokens[..., None] == ops.arange(size, dtype="int32")


def _log_softmax(logits):
    """Returns log-probabilities; -inf remains."""
    # exact in float64 on every backend, unlike ops.log_softmax
    top = ops.max(logits, axis=-1, keepdims=True)
    total = accumulated_sum(ops.exp(logits - top), axis=-1, keepdims=True)
    return logits - (top + ops.log(total))
