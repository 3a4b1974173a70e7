"""Decoding of many prompts in batches."""

import keras
import numpy as np
from keras import ops

from su_models.generation.base import failure
from su_models.utils.checks import check_integer, check_size


class Job:
    """All prompts of a call, decoded batch by batch.

    Args:
        plan: the `Plan` of the model.
        prompts: `Prompts`.
        start_id: int. The first token of a decoder.
        additional_inputs: optional list of arrays, the other inputs.
        options: dict with the arguments of the search.

    Raises:
        ValueError: if an argument does not fit the model, or the prompts do
            not fit in its positions.
    """

    def __init__(self, plan, prompts, start_id, additional_inputs, options):
        self.plan, self.prompts = plan, prompts
        self.new = options["max_new_tokens"]
        self.penalized = options["repetition_penalty"] != 1
        self.start_id = check_integer(
            "start_id", start_id, 0, plan.vocab_size - 1
        )
        source = list(plan.source)
        self.encoder = plan.encoder_input
        others = [x for x in source if x is not self.encoder]
        given = [] if additional_inputs is None else list(additional_inputs)
        if len(given) != len(others):
            raise ValueError(
                f"The model has {len(others)} inputs besides token, segment "
                "and position ids; pass them as `additional_inputs`. "
                f"Received: additional_inputs={given}"
            )
        self.others = []
        for x, value in zip(others, given, strict=True):
            value = np.asarray(value, x.dtype)
            if value.shape[:1] != (len(prompts),):
                raise ValueError(
                    f"`additional_inputs` must have {len(prompts)} samples. "
                    f"Received: {x.name} of shape {value.shape}"
                )
            self.others.append(value)
        if prompts.segments is not None and plan.segments is None:
            raise ValueError("The model has no segments. Received: segment_ids")
        self._check_positions()

    def _check_positions(self):
        most, new = self.plan.max_length, self.new
        prompt = 1 if self.encoder is not None else self.prompts.lengths.max()
        if most is not None and prompt + new - 1 > most:
            raise ValueError(
                f"The model has {most} positions, too few for a prompt of "
                f"{prompt} tokens and {new} more. Received: "
                f"max_new_tokens={new}, prompt of length {prompt}"
            )

    def run(self, run, inputs, batch_size, progress):
        """Returns ids and scores of all prompts, in their order.

        Args:
            run: function of the inputs of a `Program` and a number of tokens.
            inputs: dict of further inputs, arrays with an entry a prompt.
            batch_size: optional int, the number of prompts in a batch.
            progress: bool. Whether to show a progress bar. Or a function of
                the numbers of finished and of all prompts.

        Raises:
            ValueError: if the search failed.
        """
        count = len(self.prompts)
        size = check_size("batch_size", batch_size, optional=True) or count
        order = np.argsort(-self.prompts.lengths, kind="stable")
        if size >= count:
            order = np.arange(count)
        starts = range(0, count, size)
        report = _report(progress, len(starts), count)
        results = []
        for number, start in enumerate(starts, start=1):
            rows = order[start : start + size]
            # batches of one size need one program
            padded = np.resize(rows, min(size, count))
            batch = self._inputs(padded)
            batch |= {name: x[padded] for name, x in inputs.items()}
            made = [ops.convert_to_numpy(x) for x in run(batch, self.new)]
            made = [x[: len(rows)] for x in made]
            self._check_status(made[2], rows)
            results.append(made[:2])
            report(number, min(start + size, count))
        back = np.argsort(order)
        ids, scores = (
            np.concatenate(x)[back] for x in zip(*results, strict=True)
        )
        return ids.astype("int32"), scores

    def _inputs(self, rows):
        """Returns the inputs of the program for some prompts."""
        plan, prompts = self.plan, self.prompts
        others = iter([value[rows] for value in self.others])
        if self.encoder is not None:
            encoded, _, _ = prompts.padded(rows)
            tokens = np.full((len(rows), 1), self.start_id, "int32")
            segments, lengths = None, np.ones(len(rows), "int32")
        else:
            tokens, segments, lengths = prompts.padded(rows, plan.max_length)
        made = {"tokens": tokens, "lengths": lengths}
        if plan.segments is not None:
            zeros = np.zeros_like(tokens)
            made["segments"] = zeros if segments is None else segments
        if plan.source:
            made["source"] = [
                encoded if x is self.encoder else next(others)
                for x in plan.source
            ]
        if self.penalized:
            seen = np.zeros((len(rows), plan.vocab_size), bool)
            for row, ids, n in zip(seen, tokens, lengths, strict=True):
                row[ids[:n]] = True
            made["history"] = seen
        return made

    def _check_status(self, status, rows):
        for row, code in zip(rows, status, strict=True):
            failed = failure(code)
            if failed is not None:
                step, reason = failed
                raise ValueError(
                    f"Generation failed at step {step}: {reason}. "
                    f"Received: prompt {row}"
                )


def _report(progress, batches, prompts):
    """Returns a function of the numbers of finished batches and prompts."""
    if callable(progress):
        return lambda _, done: progress(done, prompts)
    if not progress:
        return lambda *_: None
    bar = keras.utils.Progbar(batches, unit_name="batch")
    return lambda number, _: bar.update(number)
