"""Beam search."""

from keras import ops

from su_models.backend.indices import update_slice
from su_models.generation.base import Generated, Search
from su_models.generation.gather_rows import gather_rows
from su_models.utils.checks import check_choice, check_integer, check_number

_DEAD = -float("inf")  # score of a beam that does not exist


class BeamSearch(Search):
    """Keeps the most probable beginnings of sequences in each step.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    A sequence scores the sum of its tokens' log-probabilities. There are two
    rules for finished sequences:

    * "keep": finished sequences are kept apart, with their score divided by
      `length ** length_penalty`, where the length counts the generated tokens
      including `end_id`. The search of a sample ends when its best running
      beam, divided likewise, is not better than the worst of `beam_size`
      finished ones, as in `transformers` with `early_stopping=False`.
      Differs: `temperature`, `repetition_penalty`, `min_new_tokens` and
      `allowed_tokens` act before the softmax here, as in the other searches;
      in the beam search of `transformers`, on log-probabilities after it.
    * "drop": the rule of bert4keras. The search ends when the best beam is
      finished; other finished beams are dropped, and as many beams fewer are
      kept from then on. There is no length penalty, and a probability p
      counts as log(p + 1e-12). An `end_id` before `min_new_tokens` is a token
      like any other.

    Args:
        max_new_tokens: int > 0. The number of tokens to generate.
        beam_size: int > 0, at most the size of the vocabulary.
        finished: "keep" or "drop".
        length_penalty: float. A positive one favors long sequences.
        num_return_sequences: int > 0, at most `beam_size`; 1 for "drop".
        **kwargs: see `su_models.generation.base.Search`.

    Call arguments:
        step, tokens, cache, limit, history, reorder: see `Search`.
        width: optional int32 scalar, at most `beam_size`: the number of beams
            in use. With 1, the rule "keep" is greedy search.

    Returns:
        A `Generated` with the best sequences of each sample, best first. If
        there are fewer sequences than that, the score of the others is -inf.

    Example:

    >>> def step(tokens, cache, index):  # 1, 1, 1 or 2, 0, 0
    ...     first = keras.ops.array([[[-9.0, 0.1, 0.0]] * 2])
    ...     sure = keras.ops.where(tokens == 1, 0.0, 9.0)[..., None]
    ...     after = sure * keras.ops.array([1.0, 0.0, 0.0])
    ...     return keras.ops.where(index == 0, first, after), cache
    >>> search = su_models.generation.BeamSearch(3, beam_size=2)
    >>> ids = search(step, keras.ops.array([0]), ()).ids
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [[[2, 0, 0]]]
    """

    def __init__(
        self,
        max_new_tokens,
        beam_size=3,
        finished="keep",
        length_penalty=1.0,
        num_return_sequences=1,
        **kwargs,
    ):
        super().__init__(max_new_tokens, **kwargs)
        self.rows = check_integer("beam_size", beam_size, least=1)
        self.rule = check_choice("finished", finished, ("keep", "drop"))
        self.length_penalty = check_number("length_penalty", length_penalty)
        self.num_return_sequences = check_integer(
            "num_return_sequences",
            num_return_sequences,
            1,
            self.rows if finished == "keep" else 1,
        )
        self.bans_early_end = finished == "keep"

    def check_vocabulary(self, size):
        super().check_vocabulary(size)
        check_integer("beam_size", self.rows, 1, size)

    def begin(self, tokens, cache, history=None, width=None):
        state = super().begin(tokens, cache, history)
        if width is not None or self.rule == "drop":
            most = self.rows if width is None else width
            state["width"] = ops.zeros_like(state["status"]) + most
        beam = ops.arange(self.rows, dtype="int32")
        # all beams are equal at first: only one of them counts
        scores = state["scores"] + ops.where(beam == 0, 0.0, _DEAD)
        state["scores"] = scores
        if self.rule == "keep":
            del state["done"]
            state["over"] = ops.zeros_like(state["status"], "bool")
            state["finished_ids"] = ops.zeros_like(state["ids"])
            state["finished_scores"] = ops.full_like(scores, _DEAD)
        return state

    def finished(self, state):
        if self.rule == "keep":
            return state["over"] | (state["status"] >= 0)
        return super().finished(state)

    def live(self, state):
        return state["scores"] > _DEAD

    def end(self, state):
        if self.rule == "drop":
            best = Generated(state["ids"], state["scores"], state["status"])
        else:
            best = Generated(
                state["finished_ids"],
                state["finished_scores"],
                state["status"],
            )
        n = self.num_return_sequences
        return Generated(best.ids[:, :n], best.scores[:, :n], best.status)

    def choose(self, log_probs, state, limit):
        rule = self._keep if self.rule == "keep" else self._drop
        return rule(log_probs, state, limit)

    def _candidates(self, log_probs, state, count):
        """Returns the best continuations of all beams of a sample.

        Returns:
            scores, beams and tokens, each `(batch, count)`, best first.
        """
        size = log_probs.shape[-1]
        scores = state["scores"][..., None] + ops.cast(
            log_probs, state["scores"].dtype
        )
        flat = ops.reshape(scores, (-1, self.rows * size))
        scores, at = ops.top_k(flat, count)
        at = ops.cast(at, "int32")
        return scores, at // size, at % size

    def _keep(self, log_probs, state, limit):
        k, index, over = self.rows, state["index"], self.finished(state)
        # of 2k continuations, at least k do not end
        count = k if self.end_id is None else 2 * k
        scores, beams, tokens = self._candidates(log_probs, state, count)
        ids = update_slice(
            gather_rows(state["ids"], beams), (0, 0, index), tokens[..., None]
        )  # (b, count, n)
        ends = ops.zeros_like(tokens, "bool")
        if self.end_id is not None:
            ends = tokens == self.end_id
        last = index + 1 >= limit
        length = ops.cast(index + 1, scores.dtype)
        share = ops.power(length, self.length_penalty)
        # only the best k may finish: the others are there to go on
        width = state["width"][:, None] if "width" in state else k
        rank = ops.arange(count, dtype="int32")
        may = (rank < width) & ops.logical_not(over)[:, None]
        final = ops.where((ends | last) & may, scores / share, _DEAD)
        every = ops.concatenate([state["finished_scores"], final], axis=1)
        finished_scores, best = ops.top_k(every, k)
        used = rank[:k] < width
        if "width" in state:
            finished_scores = ops.where(used, finished_scores, _DEAD)
        every = ops.concatenate([state["finished_ids"], ids], axis=1)
        finished_ids = gather_rows(every, ops.cast(best, "int32"))
        if self.end_id is not None:
            scores, best = ops.top_k(ops.where(ends, _DEAD, scores), k)
            best = ops.cast(best, "int32")
            beams, tokens, ids = (
                gather_rows(x, best) for x in (beams, tokens, ids)
            )
        worst = finished_scores
        if "width" in state:
            scores = ops.where(used, scores, _DEAD)
            worst = ops.where(used, worst, -_DEAD)
        going = ops.max(scores, 1) / share > ops.min(worst, 1)
        if "width" in state:  # greedy search ends with the first end
            some = ops.max(finished_scores, 1) > _DEAD
            going = going & ops.logical_not((state["width"] == 1) & some)
        changes = {
            "tokens": tokens,
            "ids": ids,
            "scores": scores,
            "finished_ids": finished_ids,
            "finished_scores": finished_scores,
            "over": over | ops.logical_not(going),
        }
        return changes, beams

    def _drop(self, log_probs, state, limit):
        index, done = state["index"], self.finished(state)
        log_probs = floored(log_probs)
        scores, beams, tokens = self._candidates(log_probs, state, self.rows)
        rank = ops.arange(self.rows, dtype="int32")
        exists = rank < state["width"][:, None]
        scores = ops.where(exists, scores, _DEAD)
        ids = update_slice(
            gather_rows(state["ids"], beams), (0, 0, index), tokens[..., None]
        )
        width, over = state["width"], ops.zeros_like(done)
        if self.end_id is not None:
            late = index + 1 >= self.min_new_tokens
            ends = (tokens == self.end_id) & exists & late
            over = ops.any(ends & (rank == 0), axis=1)
            dropped = ends & (rank > 0)
            scores = ops.where(dropped, _DEAD, scores)
            width = width - ops.sum(ops.cast(dropped, "int32"), axis=1)
        kept = done[:, None]
        changes = {
            "tokens": ops.where(kept, 0, tokens),
            "ids": ops.where(kept[..., None], state["ids"], ids),
            "scores": ops.where(kept, state["scores"], scores),
            "done": kept | over[:, None] | state["done"],
            "width": ops.where(done, state["width"], width),
        }
        return changes, beams


def floored(log_probs):
    """Returns log(p + 1e-12) of log p; a banned token, with -inf, keeps it."""
    floor = ops.log(ops.exp(log_probs) + 1e-12)
    return ops.where(log_probs > _DEAD, floor, log_probs)
