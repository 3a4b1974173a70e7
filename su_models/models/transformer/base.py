"""Base of all Transformers: layers by name, and the order of building."""

import keras

from su_models.layers.attention.multi_head_attention import MultiHeadAttention
from su_models.layers.attention.residual_multi_head_attention import (
    ResidualMultiHeadAttention,
)
from su_models.layers.core.embedding import Embedding
from su_models.layers.core.feed_forward import FeedForward
from su_models.layers.merging.add import Add
from su_models.layers.normalization.layer_normalization import (
    LayerNormalization,
)
from su_models.models.transformer.activations import activation
from su_models.models.transformer.postponed import Postponed
from su_models.models.transformer.vocabulary import reduced_size
from su_models.utils.checks import (
    check_choice,
    check_flag,
    check_positive,
    check_share,
    check_size,
)


class Transformer:
    """Builds a functional model layer by layer; a family overrides methods.

    Article: https://kexue.fm/archives/4765
        《Attention is All You Need》浅读（简介+代码）
    Paper: https://arxiv.org/abs/1706.03762

    The names of methods, arguments and layers are those of bert4keras, so
    that code with its subclasses and `get_layer(...)` calls needs no change.
    `build` calls `get_inputs`, `apply_embeddings`, `apply_main_layers` once
    for each block, and `apply_final_layers`, and sets `self.model`, a plain
    `keras.Model`. Layers are applied through `apply`, which creates a layer
    once and finds it again by its name.

    A family usually overrides one to three of these methods, or `sublayer`
    (the position of the normalization), `attention_arguments` or
    `norm_arguments`.

    Args:
        vocab_size: int > 0. Rows of the token embedding, before
            `keep_tokens`.
        hidden_size: int > 0. Features of the hidden states.
        num_hidden_layers: int > 0. Number of blocks.
        num_attention_heads: int > 0. Heads of each attention layer.
        intermediate_size: int > 0. Hidden units of the feed-forward networks.
        hidden_act: activation of the feed-forward networks; a list makes them
            gated.
        dropout_rate: float in [0, 1), or None. Dropout rate of the hidden
            states.
        attention_dropout_rate: float in [0, 1), or None. Dropout rate of the
            attention weights.
        embedding_size: optional int. Features of the embeddings. Defaults to
            `hidden_size`.
        attention_head_size: optional int. Features of the values of a head.
            Defaults to `hidden_size // num_attention_heads`.
        attention_key_size: optional int. Features of the queries and keys of
            a head. Defaults to `attention_head_size`.
        sequence_length: optional int. A fixed length of the inputs.
        keep_tokens: optional list of ids. The rows of the vocabulary that are
            kept, in this order.
        compound_tokens: optional list. Rows that are added to the vocabulary:
            each a list of ids whose embeddings are averaged, or a pair of ids
            and their weights.
        residual_attention_scores: False; True: each attention layer adds the
            scores of the previous one, as in bert4keras; or "accumulated":
            the scores of all previous ones, as in the paper of RealFormer
            (article 8027).
        ignore_invalid_weights: bool. Whether weights missing from the
            checkpoint keep their initial values.
        autoresize_weights: bool. Whether weights with another shape in the
            checkpoint are resized.
        layer_norm_epsilon: optional float > 0. ε of all normalizations.
            Defaults to that of the family.
        layers: optional dict from names to layers that are used instead of
            new ones.
        prefix: optional prefix of the names of all layers.
        name: optional name of the model.

    Attributes:
        model: the `keras.Model`, after `build`.
        inputs, outputs: lists of the model's symbolic tensors.
        layers: a dict from names to layers.

    Raises:
        ValueError: if an argument is out of its range, or the heads do not
            divide `hidden_size`.
    """

    epsilon = 1e-7
    norm_arguments = {}
    use_bias = True
    attention_scale = True
    rotary_base = None
    attention_layer = MultiHeadAttention
    position_argument = None
    wait = None  # set while a checkpoint is to follow
    rejected = ()  # arguments of a base class that the family rejects

    def __init__(
        self,
        vocab_size,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size,
        hidden_act,
        dropout_rate=None,
        attention_dropout_rate=None,
        embedding_size=None,
        attention_head_size=None,
        attention_key_size=None,
        sequence_length=None,
        keep_tokens=None,
        compound_tokens=None,
        residual_attention_scores=False,
        ignore_invalid_weights=False,
        autoresize_weights=False,
        layer_norm_epsilon=None,
        layers=None,
        prefix=None,
        name=None,
    ):
        self.full_vocab_size = check_size("vocab_size", vocab_size)
        self.keep_tokens, self.compound_tokens = keep_tokens, compound_tokens
        self.vocab_size = reduced_size(vocab_size, keep_tokens, compound_tokens)
        self.hidden_size = check_size("hidden_size", hidden_size)
        self.num_hidden_layers = check_size(
            "num_hidden_layers", num_hidden_layers
        )
        heads = check_size("num_attention_heads", num_attention_heads)
        if attention_head_size is None and hidden_size % heads:
            raise ValueError(
                "`num_attention_heads` must divide `hidden_size`, or "
                "`attention_head_size` be given. Received: "
                f"num_attention_heads={heads}, hidden_size={hidden_size}"
            )
        self.num_attention_heads = heads
        self.attention_head_size = (
            check_size(
                "attention_head_size", attention_head_size, optional=True
            )
            or hidden_size // heads
        )
        self.attention_key_size = (
            check_size("attention_key_size", attention_key_size, optional=True)
            or self.attention_head_size
        )
        self.intermediate_size = check_size(
            "intermediate_size", intermediate_size
        )
        several = isinstance(hidden_act, (list, tuple))
        self.hidden_act = (
            [activation(act) for act in hidden_act]
            if several
            else activation(hidden_act)
        )
        self.dropout_rate = _rate("dropout_rate", dropout_rate)
        self.attention_dropout_rate = _rate(
            "attention_dropout_rate", attention_dropout_rate
        )
        self.embedding_size = (
            check_size("embedding_size", embedding_size, optional=True)
            or self.hidden_size
        )
        self.sequence_length = check_size(
            "sequence_length", sequence_length, optional=True
        )
        self.residual_attention_scores = check_choice(
            "residual_attention_scores",
            residual_attention_scores,
            (False, True, "accumulated"),
        )
        self.ignore_invalid_weights = check_flag(
            "ignore_invalid_weights", ignore_invalid_weights
        )
        self.autoresize_weights = check_flag(
            "autoresize_weights", autoresize_weights
        )
        if layer_norm_epsilon is not None:
            self.epsilon = check_positive(
                "layer_norm_epsilon", layer_norm_epsilon
            )
        self.layers = {} if layers is None else layers
        self.prefix = prefix or ""
        self.name = name
        self.attention_bias = None
        self.position_bias = None
        self.attention_scores = None
        self.model = None

    # ---- the order of building

    def build(
        self,
        layer_norm_cond=None,
        layer_norm_cond_hidden_size=None,
        layer_norm_cond_hidden_act=None,
        additional_input_layers=None,
    ):
        """Builds `self.model`; a second call has no effect.

        Args:
            layer_norm_cond: optional symbolic tensor `(batch, k)` that all
                normalizations depend on (article 7124).
            layer_norm_cond_hidden_size: optional int. Units of the hidden
                layer between the condition and a normalization.
            layer_norm_cond_hidden_act: activation of that layer.
            additional_input_layers: optional symbolic input of the model, or
                a list of them, such as the input of the condition.
        """
        if self.model is not None:
            return
        inputs = self.get_inputs()
        self.set_inputs(inputs, additional_input_layers)
        self.layer_norm_conds = [
            layer_norm_cond,
            layer_norm_cond_hidden_size,
            layer_norm_cond_hidden_act or "linear",
        ]
        self.set_outputs(self.call(inputs))
        self.model = keras.Model(self.input, self.output, name=self.name)

    def call(self, inputs):
        """Returns the outputs for symbolic inputs."""
        self.attention_bias = self.position_bias = None
        self.attention_scores = None
        x = self.apply_embeddings(inputs)
        for index in range(self.num_hidden_layers):
            x = self.apply_main_layers(x, index)
        return self.apply_final_layers(x)

    def get_inputs(self):
        """Returns the symbolic inputs, one or a list."""
        raise NotImplementedError(f"{type(self).__name__}.get_inputs")

    def apply_embeddings(self, inputs):
        """Returns the hidden states before the first block."""
        raise NotImplementedError(f"{type(self).__name__}.apply_embeddings")

    def apply_main_layers(self, inputs, index):
        """Returns the hidden states after block `index`, with post-norm.

        x ← Norm(x + Attention(x)), x ← Norm(x + FeedForward(x))
        """
        block = self.block_name(index)
        name = f"{block}-MultiHeadSelfAttention"
        arguments = self.attention_arguments(inputs, index)
        x = self.sublayer(inputs, name, self.attend, **arguments)
        return self.sublayer(x, f"{block}-FeedForward", self.feed_forward)

    def apply_final_layers(self, inputs):
        """Returns the outputs, one or a list."""
        return inputs

    def compute_attention_bias(self, inputs=None):
        """Returns a pair mask, booleans `(1|batch, n, n)`, or None.

        Subclasses of `extend_with_language_model` and
        `extend_with_unified_language_model` override it.
        """
        return self.attention_bias

    def compute_position_bias(self, inputs=None):
        """Returns the position argument of all attention layers, or None."""
        return self.position_bias

    # ---- pieces

    def apply(self, inputs=None, layer=None, arguments=None, **kwargs):
        """Applies the layer of a name, which is created if necessary.

        Args:
            inputs: first argument of the layer's call. If None, the layer
                itself is returned.
            layer: class of the layer.
            arguments: optional dict, the other arguments of its call.
            **kwargs: arguments of its constructor, including `name`.
        """
        if layer is keras.layers.Dropout and not kwargs.get("rate"):
            return inputs
        name = self.prefixed(kwargs.pop("name", None))
        if name not in self.layers:
            made = layer(name=name, **self.postponed(kwargs))
            name = name or made.name
            self.layers[name] = made
        if inputs is None:
            return self.layers[name]
        return self.layers[name](inputs, **(arguments or {}))

    def postponed(self, kwargs):
        """Returns arguments of a layer without random numbers, if waiting."""
        if self.wait is None:
            return kwargs
        names = {"kernel_initializer", "embeddings_initializer"} & {*kwargs}
        return kwargs | {n: Postponed(kwargs[n], self.wait) for n in names}

    def prefixed(self, name):
        """Returns the name with the prefix; None remains None."""
        return None if name is None else self.prefix + name

    def block_name(self, index):
        """Returns the common part of the names of block `index`."""
        return f"Transformer-{index}"

    def sublayer(self, x, name, layer, **arguments):
        """Returns Norm(x + Dropout(layer(x)))."""
        y = self.dropout(layer(x, name, **arguments), f"{name}-Dropout")
        return self.norm(self.add(x, y, f"{name}-Add"), f"{name}-Norm")

    def input(self, name, features=()):
        """Returns a symbolic input of ids, or of floating-point features."""
        return self.apply(
            layer=keras.Input,
            shape=(self.sequence_length, *features),
            dtype=keras.config.floatx() if features else "int32",
            name=name,
        )

    def embedding(self, ids, name, input_dim, mask_zero=False):
        """Returns the rows of a table, `embedding_size` wide."""
        return self.apply(
            ids,
            Embedding,
            input_dim=input_dim,
            output_dim=self.embedding_size,
            mask_zero=mask_zero,
            embeddings_initializer=self.initializer,
            name=name,
        )

    def tokens(self, ids):
        """Returns the embeddings of tokens; id 0 is padding."""
        return self.embedding(ids, "Embedding-Token", self.vocab_size, True)

    def tied_logits(self, x):
        """Returns logits of all tokens, computed with the token embedding."""
        layer = self.apply(name="Embedding-Token")
        return layer(x, reverse=True)

    def mapping(self, x, units, name, **kwargs):
        """Returns x projected to `units` features, if necessary."""
        if x.shape[-1] == units:
            return x
        return self.dense(x, units, name, **kwargs)

    def dense(self, x, units, name, **kwargs):
        """Returns a `Dense` of x."""
        return self.apply(
            x,
            keras.layers.Dense,
            units=units,
            kernel_initializer=self.initializer,
            name=name,
            **{"use_bias": self.use_bias, **kwargs},
        )

    def activation(self, x, head, name):
        """Applies the activation of a head: softmax if True, else by name."""
        return self.apply(
            x,
            keras.layers.Activation,
            activation="softmax" if head is True else head,
            name=name,
        )

    def dropout(self, x, name):
        """Applies `Dropout` to x; with rate 0 no layer is created."""
        return self.apply(
            x, keras.layers.Dropout, rate=self.dropout_rate, name=name
        )

    def add(self, x, y, name):
        """Returns x + y with the mask of both."""
        return self.apply([x, y], Add, name=name)

    def norm(self, x, name, **kwargs):
        """Normalizes x, conditionally if `build` received a condition."""
        condition, units, act = self.layer_norm_conds
        kwargs = {"epsilon": self.epsilon, **self.norm_arguments, **kwargs}
        arguments = {}
        if condition is not None:
            arguments = {"condition": condition}
            kwargs |= {
                "conditional": True,
                "hidden_units": units,
                "hidden_activation": act,
                "hidden_initializer": self.initializer,
            }
        return self.apply(x, LayerNormalization, arguments, name=name, **kwargs)

    def attend(self, x, name, **arguments):
        """Applies attention from x to `value`, which defaults to x."""
        layer, options = self.attention_layer, self.attention_options()
        if not self.residual_attention_scores:
            return self.apply(x, layer, arguments, name=name, **options)
        if self.attention_scores is not None:
            arguments["residual_scores"] = self.attention_scores
        options["accumulate"] = self.residual_attention_scores == "accumulated"
        x, self.attention_scores = self.apply(
            x, ResidualMultiHeadAttention, arguments, name=name, **options
        )
        return x

    def attention_options(self):
        """Returns the constructor arguments of attention layers, a dict."""
        return {
            "num_heads": self.num_attention_heads,
            "head_dim": self.attention_head_size,
            "key_dim": self.attention_key_size,
            "output_dim": self.hidden_size,
            "use_bias": self.use_bias,
            "rotary_base": self.rotary_base,
            "attention_scale": self.attention_scale,
            "dropout": self.attention_dropout_rate,
            "kernel_initializer": self.initializer,
        }

    def attention_arguments(self, x, index):
        """Returns further call arguments of a block's attention, a dict."""
        arguments = {}
        mask = self.compute_attention_bias(index)
        if mask is not None:
            arguments["attention_mask"] = mask
        bias = self.compute_position_bias(x)
        if bias is not None:
            arguments[self.position_argument] = bias
        return arguments

    def feed_forward(self, x, name):
        """Returns the feed-forward network of x."""
        return self.apply(
            x,
            FeedForward,
            units=self.intermediate_size,
            activation=self.hidden_act,
            use_bias=self.use_bias,
            kernel_initializer=self.initializer,
            name=name,
        )

    @property
    def initializer(self):
        """Initializer of kernels and embeddings."""
        return keras.initializers.TruncatedNormal(stddev=0.02)

    def set_inputs(self, inputs, additional_input_layers=None):
        """Sets `self.inputs`, a list, and `self.input`."""
        self.inputs = [*_listed(inputs), *_listed(additional_input_layers)]
        self.input = _simplified(self.inputs)

    def set_outputs(self, outputs):
        """Sets `self.outputs`, a list, and `self.output`."""
        self.outputs = _listed(outputs)
        self.output = _simplified(self.outputs)


def _listed(x):
    if x is None:
        return []
    return [*x] if isinstance(x, (list, tuple)) else [x]


def _simplified(x):
    return x[0] if len(x) == 1 else x


def _rate(name, rate):
    """Returns a rate of dropout; None, of some configurations, is 0."""
    return check_share(name, 0 if rate is None else rate)
