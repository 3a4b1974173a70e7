"""The compiled program of a model and a search."""

import weakref

from keras import ops

from su_models.backend.compile import compiled
from su_models.models.decoding.plan import Plan
from su_models.models.decoding.stepper import Stepper

_MOST = 16  # programs of a model that are kept
_cache = weakref.WeakKeyDictionary()


def plan_of(model):
    """Returns the `Plan` of a model, which is made once."""
    return _entry(model)[1]


def program_of(model, key, search):
    """Returns the `Program` of a model and the arguments of a search.

    Args:
        model: a functional `keras.Model`.
        key: hashable arguments of the search.
        search: a `Search` with these arguments.
    """
    _, plan, programs = _entry(model)
    if key in programs:  # the least recently used one goes first
        programs[key] = programs.pop(key)
    else:
        while len(programs) >= _MOST:
            del programs[next(iter(programs))]
        programs[key] = Program(plan, search)
    return programs[key]


def _entry(model):
    # LoRA and quantization change the variables of a model
    try:
        used = tuple(id(v) for v in model.variables)
        known = _cache.get(model)
    except (AttributeError, TypeError):
        used, known = (), None
    if known is None or known[0] != used:
        plan = Plan(model)
        known = _cache[model] = used, plan, {}
    return known


class Program:
    """Prompts to ids in one program; or in parts, for streaming.

    All methods take and return tensors. `inputs` is a dict of `tokens`,
    `lengths`, and where they are needed `segments`, `source`, `history` and
    `uniforms`; see `Stepper.begin` and `Search`.

    Args:
        plan: a `Plan`.
        search: a `Search`.

    Attributes:
        run: function of `inputs` and the number of tokens, which returns ids,
            scores and status.
        begin: function of `inputs`, which returns a state.
        advance: function of a state and the number of tokens.
        end: function of a state, which returns ids, scores and status.
    """

    def __init__(self, plan, search):
        self.search = search
        self.stepper = Stepper(plan, search.rows, search.max_new_tokens)
        variables = plan.variables
        self.run = compiled(self._run, variables)
        self.begin = compiled(self._begin, variables)
        self.advance = compiled(self._advance, variables)
        self.end = compiled(self._end, variables)

    def _begin(self, inputs):
        inputs = dict(inputs)
        tokens, lengths = inputs.pop("tokens"), inputs.pop("lengths")
        cache = self.stepper.begin(
            tokens,
            lengths,
            inputs.pop("segments", None),
            inputs.pop("source", ()),
        )
        last = ops.take_along_axis(tokens, lengths[:, None] - 1, axis=1)
        return self.search.begin(last[:, 0], cache, **inputs)

    def _advance(self, state, limit):
        return self.search.advance(
            self.stepper.step, state, limit, self.stepper.reorder
        )

    def _end(self, state):
        return tuple(self.search.end(state))

    def _run(self, inputs, limit):
        return self._end(self._advance(self._begin(inputs), limit))
