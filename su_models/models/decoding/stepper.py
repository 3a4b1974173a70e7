"""The step of a recorded model: one token a row, with caches."""

import keras
from keras import ops

from su_models.backend.indices import update_slice
from su_models.backend.keras_mask import mask_of, with_mask
from su_models.generation.gather_rows import gather_rows
from su_models.layers.core.embedding import Embedding
from su_models.models.decoding.tape import filled, store

_SELF = "attention_mask", "use_causal_mask", "mask", "training"


class Stepper:
    """Computes the prompts of a batch at once, then one token a row.

    The rows of a sample (beams, or draws) are the queries of one attention to
    one cache. It has the slots of the prompt, which all rows share, then, for
    each generated token, a slot for each row. Rows are never moved: a table
    tells, for each row, which of the slots hold its own beginning, and
    becomes the mask. So a step of a search is a call of every layer on
    `(batch, rows, features)`, whatever the layer, and memory grows linearly
    with the slots.

    The last token of a prompt is passed to `step` first. Its keys and values
    are those of the prompt already, and what `step` writes for it is masked.

    Args:
        plan: a `Plan`.
        rows: int > 0, the rows of a sample.
        max_new_tokens: int > 0.
    """

    def __init__(self, plan, rows, max_new_tokens):
        self.plan = plan
        self.rows = rows
        self.slots = max(max_new_tokens - 1, 1)  # the last token needs none

    def begin(self, tokens, lengths, segments=None, source=()):
        """Returns the cache of prompts, nested tensors.

        Args:
            tokens: int32 `(batch, n)`, right-padded.
            lengths: int32 `(batch,)`, at least 1.
            segments: int32 `(batch, n)`, if the model has segments.
            source: values of the inputs `plan.source`.
        """
        plan = self.plan
        pairs = zip(plan.source, source, strict=True)
        values = {id(x): value for x, value in pairs}
        for call in plan.once:
            args, kwargs = filled((call.args, call.kwargs), values)
            store(values, call.outputs, call.operation(*args, **kwargs))
        used = {
            id(x)
            for call, _ in plan.steps
            for x in call.inputs
            if id(x) in values
        }
        b, n = ops.shape(tokens)
        real = ops.arange(n, dtype="int32") < lengths[:, None]
        tokens = ops.where(real, tokens, 0)
        cache = {
            "lengths": lengths,
            "weights": self._weights(),
            "layers": {},
            "cross": {},
            "cross_masks": {},
        }
        values[id(plan.tokens)] = tokens
        if plan.segments is not None:
            values[id(plan.segments)] = segments
            last = ops.take_along_axis(segments, lengths[:, None] - 1, axis=1)
            new = ops.ones_like(last) if plan.is_unilm else last
            # of the last token of the prompt, and of generated ones
            cache["segments"] = last, new  # (b, 1)
        positions = ops.arange(n, dtype="int32")
        if plan.position_input is not None:
            values[id(plan.position_input)] = positions + 0 * tokens
        known = real
        masks = False
        for index, (call, kind) in enumerate(plan.steps):
            if kind == "cross":
                self._remember(call, str(index), values, cache)
            if not any(call is c for c, _ in plan.prefill):
                continue
            if kind == "attention":
                query = filled(_query(call), values)
                mask = mask_of(query)
                if mask is not None and not masks:
                    masks, known = True, known & mask
                y, kv = self._attend_prompt(call, query, mask, values, b, n)
                cache["layers"][str(index)] = kv
            else:
                args, kwargs = filled((call.args, call.kwargs), values)
                y = call.operation(*args, **kwargs)
            store(values, call.outputs, y)
        cache["shared"] = {
            str(i): values[id(x)]
            for i, x in enumerate(self._shared())
            if id(x) in used
        }
        k, m = self.rows, self.slots
        cache["prompt"] = known  # (b, n)
        zero = ops.zeros_like(lengths)[:, None, None]
        own = ops.reshape(ops.arange(k, dtype="int32"), (1, k, 1))
        cache["ancestors"] = zero + own + ops.zeros((1, 1, m), "int32")
        if masks:
            cache["real"] = ops.cast(
                zero + ops.ones((1, m, k), "int32"), "bool"
            )
        room = m * k
        cache["layers"] = {
            name: tuple(_with_room(x, room) for x in kv)
            for name, kv in cache["layers"].items()
        }
        return cache

    def step(self, tokens, cache, index):
        """Returns logits `(batch, rows, vocabulary)`, and the cache.

        Args:
            tokens: int32 `(batch, rows)`.
            cache: from `begin` or the previous step.
            index: int32 scalar, 0 for the last tokens of the prompts.
        """
        plan, cache = self.plan, dict(cache)
        cache["layers"] = dict(cache["layers"])
        now = _Now(self, cache, tokens, index)
        values = {
            id(x): cache["shared"][str(i)]
            for i, x in enumerate(self._shared())
            if str(i) in cache["shared"]
        }
        values[id(plan.tokens)] = tokens
        if plan.segments is not None:
            last, new = cache["segments"]
            segments = ops.where(index == 0, last, new) + 0 * tokens
            values[id(plan.segments)] = segments
        if plan.position_input is not None:
            values[id(plan.position_input)] = now.positions
        for number, (call, kind) in enumerate(plan.steps):
            if kind == "order":
                continue
            store(
                values,
                call.outputs,
                now.result(str(number), call, kind, values),
            )
        return values[id(plan.output)], cache

    @staticmethod
    def reorder(cache, parents):
        """Returns the cache of the rows `parents`: only the table changes."""
        ancestors = gather_rows(cache["ancestors"], parents)
        return {**cache, "ancestors": ancestors}

    # ---- pieces

    def _shared(self):
        """Returns the symbolic tensors that are computed once."""
        found = [*self.plan.source]
        for call in self.plan.once:
            found += keras.tree.flatten(call.outputs)
        return found

    def _weights(self):
        """Returns weights in the form that is fastest for a step, a dict."""
        made = {}
        for index, (call, kind) in enumerate(self.plan.steps):
            layer = call.operation
            if kind == "attention":
                weights = layer.step_weights()
                if weights is not None:
                    made[str(index)] = weights
            elif _is_reversed(call) and not layer.quantization_mode:
                made[str(index)] = layer.step_weights()
        return made

    def _remember(self, call, name, values, cache):
        """Stores the keys and values of a cross-attention."""
        arguments = filled(
            {k: v for k, v in call.arguments.items() if k in ("value", "key")},
            values,
        )
        value, key = arguments["value"], arguments.get("key")
        cache["cross"][name] = call.operation.compute_cache(value, key)
        masks = [mask_of(x) for x in (value, key) if x is not None]
        masks = [mask for mask in masks if mask is not None]
        given = call.arguments.get("attention_mask")
        if given is not None:
            given = filled(given, values)
            if len(given.shape) != 2:
                raise ValueError(
                    "The mask of a cross-attention must be `(batch, m)`. "
                    f"Received: {call.name} with a mask of {given.shape}"
                )
            masks.append(given)
        if masks:
            first, *others = masks
            for mask in others:
                first = ops.logical_and(first, mask)
            cache["cross_masks"][name] = first

    def _attend_prompt(self, call, query, mask, values, b, n):
        """Returns the result of self-attention, and its keys and values."""
        options = _options(call, values, _SELF)
        pairs = call.arguments.get("attention_mask")
        if pairs is not None:
            pairs = filled(pairs, values)  # (1|b, n, n)
            if mask is not None:
                pairs = ops.logical_and(pairs, mask[:, None])
        else:
            pairs = mask
        return call.operation.step(
            query,
            call.operation.empty_cache(b, n),
            0,
            attention_mask=pairs,
            use_causal_mask=bool(call.arguments.get("use_causal_mask")),
            **options,
        )


class _Now:
    """What the calls of one step share."""

    def __init__(self, stepper, cache, tokens, index):
        self.rows, self.slots = stepper.rows, stepper.slots
        self.cache, self.index, self.tokens = cache, index, tokens
        self.linear = stepper.plan.linear
        lengths = cache["lengths"][:, None]
        self.positions = lengths - 1 + index + 0 * tokens  # (b, rows)
        self.slot = ops.maximum(index - 1, 0)
        self.prompt = ops.shape(cache["prompt"])[1]
        self._mask = self._key_positions = None

    def result(self, name, call, kind, values):
        """Returns the outputs of a call for the tokens of this step."""
        layer, weights = call.operation, self.cache["weights"].get(name)
        if kind in ("attention", "cross"):
            attend = self._self if kind == "attention" else self._cross
            return attend(name, call, weights, values)
        if kind == "position_ids":
            return self.positions
        if kind in ("positions", "pairs"):
            arguments = filled(call.arguments, values)
            arguments["positions"] = self.positions
            if kind == "pairs" and arguments.get("value") is None:
                arguments["key_positions"] = self.key_positions
            return layer(**arguments)
        args, kwargs = filled((call.args, call.kwargs), values)
        if call is self.linear:
            return self._without_softmax(layer, args, kwargs)
        if _is_reversed(call) and weights is not None:
            return layer.logits(args[0], weights)
        y = layer(*args, **kwargs)
        if getattr(layer, "mask_zero", False) and not _is_reversed(call):
            # as for any token but the first of a sequence
            y = with_mask(y, ops.not_equal(args[0], 0))
        return y

    def _self(self, name, call, weights, values):
        query = filled(_query(call), values)
        mask = self._slots_of(query)
        options = _options(call, values, _SELF)
        if call.operation.rotary_base is not None:
            options["positions"] = self.positions
        y, self.cache["layers"][name] = call.operation.step(
            query,
            self.cache["layers"][name],
            self.prompt + self.slot * self.rows,
            attention_mask=mask,
            weights=weights,
            **options,
        )
        return y

    def _cross(self, name, call, weights, values):
        options = _options(call, values, (*_SELF, "value", "key"))
        if call.operation.rotary_base is not None:
            options.setdefault("positions", self.positions)
        return call.operation.step(
            filled(_query(call), values),
            self.cache["cross"][name],
            attention_mask=self.cache["cross_masks"].get(name),
            **options,
        )[0]

    def _slots_of(self, query):
        """Returns which slots each row attends to, `(b, rows, slots)`."""
        if self._mask is not None:
            return self._mask
        k, m, cache = self.rows, self.slots, self.cache
        row = ops.arange(k, dtype="int32")
        start = (0, 0, self.slot)
        own = ops.reshape(row, (1, k, 1)) + 0 * cache["ancestors"][..., :1]
        cache["ancestors"] = update_slice(cache["ancestors"], start, own)
        mine = cache["ancestors"][..., None] == row  # (b, rows, m, rows)
        written = ops.arange(m, dtype="int32") < self.index
        mine = mine & ops.reshape(written, (1, 1, m, 1))
        if "real" in cache:
            new = mask_of(query)[:, None]  # (b, 1, rows)
            cache["real"] = update_slice(cache["real"], (0, self.slot, 0), new)
            mine = mine & cache["real"][:, None]
        mine = ops.reshape(mine, (-1, k, m * k))
        prompt = cache["prompt"][:, None] | ops.zeros((1, k, 1), "bool")
        self._mask = ops.concatenate([prompt, mine], axis=-1)
        return self._mask

    @property
    def key_positions(self):
        """Positions of all slots, `(b, slots)`."""
        if self._key_positions is None:
            k, m = self.rows, self.slots
            lengths = self.cache["lengths"][:, None]
            prompt = ops.arange(self.prompt, dtype="int32") + 0 * lengths
            new = ops.reshape(ops.arange(m * k, dtype="int32") // k, (1, -1))
            self._key_positions = ops.concatenate(
                [prompt, lengths + new], axis=1
            )
        return self._key_positions

    def _without_softmax(self, layer, args, kwargs):
        """Returns the logits of a `Dense` with a softmax."""
        if layer.quantization_mode:
            return ops.log(layer(*args, **kwargs))
        x = ops.cast(args[0], layer.compute_dtype)
        y = ops.matmul(x, ops.cast(layer.kernel, layer.compute_dtype))
        if layer.use_bias:
            y = ops.add(y, ops.cast(layer.bias, layer.compute_dtype))
        return y


def _query(call):
    """Returns the tensor that a call of attention projects to queries."""
    return call.inputs[0]


def _options(call, values, without):
    """Returns the arguments of a call of attention for its `step`."""
    query = _query(call)
    return {
        name: filled(value, values)
        for name, value in call.arguments.items()
        if value is not query and name not in without
    }


def _is_reversed(call):
    layer = call.operation
    return isinstance(layer, Embedding) and bool(call.arguments.get("reverse"))


def _with_room(x, room):
    """Returns keys or values `(b, h, n, d)` with `room` more slots."""
    return ops.pad(x, [[0, 0], [0, 0], [0, room], [0, 0]])
