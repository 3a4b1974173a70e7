"""Finds out how a functional model computes one token after the other."""

import keras
from keras import tree

from su_models.layers.attention.base import (
    BaseAttention,
    BaseMultiHeadAttention,
    BaseSelfAttention,
)
from su_models.layers.attention.causal_mask import CausalMask
from su_models.layers.attention.prefix_mask import PrefixMask
from su_models.layers.core.feed_forward import FeedForward
from su_models.layers.core.zero_masked import ZeroMasked
from su_models.layers.normalization.deep_norm import DeepNorm
from su_models.layers.normalization.layer_normalization import (
    LayerNormalization,
)
from su_models.layers.position.position_embedding import PositionEmbedding
from su_models.layers.position.position_ids import PositionIds
from su_models.layers.position.relative_position_bias import (
    RelativePositionBias,
)
from su_models.layers.position.relative_position_embedding import (
    RelativePositionEmbedding,
)
from su_models.layers.position.rotary_embedding import RotaryEmbedding
from su_models.layers.position.sinusoidal_position_embedding import (
    SinusoidalPositionEmbedding,
)
from su_models.models.decoding.tape import record, symbolic

_EMBEDDINGS = keras.layers.Embedding, keras.layers.ReversibleEmbedding
_ORDERS = CausalMask, PrefixMask
_POSITIONS = PositionEmbedding, SinusoidalPositionEmbedding, RotaryEmbedding
_PAIRS = RelativePositionBias, RelativePositionEmbedding
# layers that compute each token from the same token of their inputs
_TOKENWISE = (
    *_EMBEDDINGS,
    DeepNorm,
    FeedForward,
    LayerNormalization,
    ZeroMasked,
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.Masking,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.RMSNormalization,
    keras.layers.ReLU,
    keras.layers.Subtract,
)
_LAST_AXIS = (
    keras.layers.Concatenate,
    keras.layers.LayerNormalization,
    keras.layers.Softmax,
)
_ELEMENTWISE = {
    *("Absolute", "Add", "Cast", "Divide", "Exp", "Gelu", "Log", "Maximum"),
    *("Minimum", "Multiply", "Negative", "Relu", "Sigmoid", "Silu", "Sqrt"),
    *("Square", "Subtract", "Tanh", "TrueDivide"),
}


class Plan:
    """The roles of the inputs and calls of a model that generates.

    Calls that do not depend on the generated tokens, such as those of an
    encoder, are computed once, the others for each token. The latter have one
    of these kinds:

    * "tokenwise": as it is;
    * "order": makes a causal mask or that of UniLM. The cache's mask takes
      its place;
    * "positions", "position_ids", "pairs": take the positions of the tokens;
    * "attention": self-attention with a cache;
    * "cross": attention to tensors that are computed once.

    Args:
        model: a functional `keras.Model` whose output has scores of the next
            token at each token.

    Attributes:
        tape: the `Tape`.
        tokens, segments, position_input: symbolic inputs of the generated
            side; the last two may be None.
        source: list of the other inputs.
        encoder_input: the one of them with the ids of the encoder, or None.
        once: list of `Call`s that are computed once.
        steps: list of pairs of a `Call` and its kind.
        prefill: those of `steps` that the caches depend on.
        output: symbolic logits.
        linear: the call of a `Dense` whose softmax the logits are before, or
            None.
        vocab_size: number of tokens.
        is_unilm: whether generated tokens belong to segment 1.
        max_length: the number of positions, or None if it is not limited.

    Raises:
        ValueError: if the model cannot compute token by token. The message
            names the layer.
    """

    def __init__(self, model):
        self.tape = record(model)
        self._name = model.name
        self._every = self.tape.calls
        self._find_inputs()
        self.vocab_size = self._embedding().input_dim
        output = self._output()
        calls = self.tape.needed([output])
        self._target = {id(x) for x in self._inputs}
        self.once, self.steps = [], []
        for call in calls:
            if not self._target & {id(x) for x in call.inputs}:
                self.once.append(call)
                continue
            self.steps.append((call, self._kind(call)))
            self._target |= {id(x) for x in tree.flatten(call.outputs)}
        self._check_uses(output)
        self.output, self.linear = self._scores(output)
        self.steps = self._only(self.tape.needed([self.output]))
        attentions = [c for c, kind in self.steps if kind == "attention"]
        if not attentions:
            raise self._refusal(None, "it has no causal attention")
        self.prefill = self._only(
            self.tape.needed([x for c in attentions for x in c.inputs])
            + attentions
        )
        limits = [
            call.operation.max_length
            for call, kind in self.steps
            if isinstance(call.operation, PositionEmbedding)
        ]
        self.max_length = min(limits, default=None)
        encoded = [
            x
            for x in self.source
            if keras.backend.is_int_dtype(x.dtype) and len(x.shape) == 2
        ]
        crosses = any(kind == "cross" for _, kind in self.steps)
        self.encoder_input = encoded[0] if crosses and encoded else None
        if crosses and not encoded:
            raise self._refusal(None, "its context is no input of ids")

    @property
    def variables(self):
        """The variables of all layers, a list."""
        found = {}
        for call in self._every:
            for variable in getattr(call.operation, "variables", ()):
                found[id(variable)] = variable
        return list(found.values())

    def _only(self, calls):
        """Returns the steps with these calls."""
        wanted = {id(call) for call in calls}
        return [pair for pair in self.steps if id(pair[0]) in wanted]

    # ---- inputs

    def _find_inputs(self):
        """Finds out which inputs the generated tokens belong to."""
        depends = {id(x): {id(x)} for x in self.tape.inputs}
        source = set()
        for call in self._every:
            union = set().union(*(depends[id(x)] for x in call.inputs))
            for x in tree.flatten(call.outputs):
                depends[id(x)] = union
            value = _memory(call)
            if value is not None:
                source |= depends[id(value)]
        integers = [
            x
            for x in self.tape.inputs
            if keras.backend.is_int_dtype(x.dtype) and len(x.shape) == 2
        ]
        inputs = [x for x in integers if id(x) not in source]
        ids = [x for x in inputs if self._users(x, _EMBEDDINGS)]
        if not ids:
            raise self._refusal(None, "no input holds token ids")
        self.tokens = ids[0]
        positions = [
            x
            for x in inputs
            if any(call.arguments.get("positions") is x for call in self._every)
        ]
        self.position_input = positions[0] if positions else None
        others = [
            x for x in inputs if x is not self.tokens and x not in positions
        ]
        if len(others) > 1 or len(positions) > 1:
            raise self._refusal(None, "it has several inputs of segments")
        self.segments = others[0] if others else None
        self._inputs = inputs
        known = {id(x) for x in inputs}
        self.source = [x for x in self.tape.inputs if id(x) not in known]
        self.is_unilm = bool(
            self.segments is not None and self._users(self.segments, PrefixMask)
        )

    def _users(self, x, classes):
        """Returns the calls of layers of some classes on a tensor."""
        return [
            call
            for call in self._every
            if isinstance(call.operation, classes)
            and any(y is x for y in call.inputs)
        ]

    def _embedding(self):
        return self._users(self.tokens, _EMBEDDINGS)[0].operation

    # ---- calls

    def _kind(self, call):
        """Returns the kind of a call, or raises."""
        layer = call.operation
        if isinstance(layer, _ORDERS):
            return "order"
        if isinstance(layer, BaseSelfAttention):
            raise self._refusal(layer, "attends to blocks of a whole sequence")
        if isinstance(layer, BaseAttention):
            return self._attention_kind(call)
        if isinstance(layer, PositionIds):
            return "position_ids"
        if isinstance(layer, _PAIRS):
            return "pairs"
        if isinstance(layer, _POSITIONS):
            return "positions"
        if isinstance(layer, _TOKENWISE):
            return "tokenwise"
        rank = len(tree.flatten(call.outputs)[0].shape)
        if isinstance(layer, _LAST_AXIS) and layer.axis in (-1, rank - 1):
            return "tokenwise"
        elementwise = not isinstance(layer, keras.layers.Layer)
        if elementwise and type(layer).__name__ in _ELEMENTWISE:
            return "tokenwise"
        raise self._refusal(
            layer, "is not known to compute each token by itself"
        )

    def _attention_kind(self, call):
        arguments = call.arguments
        if _memory(call) is not None:
            if self._target & {id(x) for x in symbolic(_memory(call))}:
                raise self._refusal(
                    call.operation, "attends to another tensor of the tokens"
                )
            return "cross"
        mask = arguments.get("attention_mask")
        makers = [
            c.operation
            for c, kind in self.steps
            if kind == "order" and c.outputs is mask
        ]
        if not makers and (
            mask is not None or not arguments.get("use_causal_mask")
        ):
            raise self._refusal(
                call.operation,
                "attends to later tokens, since its mask is not causal",
            )
        return "attention"

    def _check_uses(self, output):
        """Rejects a mask of the order that something else reads."""
        orders = {
            id(call.outputs) for call, kind in self.steps if kind == "order"
        }
        for call, kind in self.steps:
            names = {"attention_mask"} if kind == "attention" else set()
            for name, value in call.arguments.items():
                if orders & {id(x) for x in symbolic(value)} - (
                    {id(value)} if name in names else set()
                ):
                    raise self._refusal(
                        call.operation, "reads the mask of the attention"
                    )

    # ---- output

    def _output(self):
        """Returns the output with a score for each token."""
        outputs = self.tape.outputs
        scores = [
            x
            for x in outputs
            if len(x.shape) == 3 and x.shape[-1] == self.vocab_size
        ]
        return (scores or outputs)[0]

    def _scores(self, output):
        """Returns the tensor of logits, and the `Dense` without its softmax.

        If the model ends in a softmax, the logits are its input.
        """
        if len(output.shape) != 3 or output.shape[-1] != self.vocab_size:
            raise self._refusal(
                None,
                f"it has no output with scores of its {self.vocab_size} tokens",
            )
        (last,) = (
            call
            for call, _ in self.steps
            if any(x is output for x in tree.flatten(call.outputs))
        )
        layer = last.operation
        if isinstance(layer, keras.layers.Softmax):
            return last.inputs[0], None
        if not isinstance(layer, (keras.layers.Activation, keras.layers.Dense)):
            return output, None
        if layer.activation is keras.activations.softmax:
            if isinstance(layer, keras.layers.Dense):
                return output, last
            return last.inputs[0], None
        if layer.activation is not keras.activations.linear:
            raise self._refusal(
                layer, "returns neither logits nor probabilities"
            )
        return output, None

    def _refusal(self, layer, reason):
        where = "" if layer is None else f"{layer.name} ({_kind_of(layer)}) "
        return ValueError(
            f"`model` cannot generate token by token: {where}{reason}. "
            f"Received: model={self._name!r}"
        )


def _kind_of(layer):
    return type(layer).__name__


def _memory(call):
    """Returns what a call of cross-attention attends to, or None."""
    if not isinstance(call.operation, BaseMultiHeadAttention):
        return None
    arguments = call.arguments
    value = arguments.get("value")
    return None if value is arguments.get("query") else value
