"""T5: an encoder and a decoder that share the token embedding."""

import keras

from su_models.layers.core.zero_masked import ZeroMasked
from su_models.layers.normalization.scale_offset import ScaleOffset
from su_models.layers.position.relative_position_bias import (
    RelativePositionBias,
)
from su_models.models.transformer.base import Transformer
from su_models.models.transformer.gpt2 import GPT2
from su_models.models.transformer.masks import LMMask
from su_models.utils.checks import check_choice, check_flag

VERSIONS = ("t5.1.0", "t5.1.1", "mt5.1.1")


class T5Base(Transformer):
    """Base of the encoder and the decoder of T5.

    Article: https://kexue.fm/archives/7867
        《那个屠榜的T5模型，现在可以在中文上玩玩了》
    Paper: https://arxiv.org/abs/1910.10683

    Args:
        version: "t5.1.0", whose output is tied to the token embedding, or
            "t5.1.1" or "mt5.1.1", whose output is not tied.
        with_lm: True for probabilities of the next token; the name of the
            activation; or False for the hidden states of the decoder.
        cross_position_bias: bool. Whether the decoder also adds its bias of
            relative positions in the attention to the encoder, as in
            bert4keras; Hugging Face does not.
        output_scale: optional bool. Whether the decoder's output is divided
            by `√hidden_size`. Defaults to True, as in bert4keras; Hugging
            Face divides only tied outputs.
        max_position, segment_vocab_size: ignored; the length is not limited.
        **kwargs: arguments of `Transformer`.
    """

    epsilon = 1e-6
    use_bias = False
    norm_arguments = {"zero_mean": False, "offset": False}
    position_argument = "attention_bias"
    attention_scale = False
    side = None
    sublayer = GPT2.sublayer

    def __init__(
        self,
        version="t5.1.0",
        with_lm=True,
        cross_position_bias=True,
        output_scale=True,
        max_position=None,
        segment_vocab_size=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.version = check_choice("version", version, VERSIONS)
        self.with_lm = with_lm
        self.cross_position_bias = check_flag(
            "cross_position_bias", cross_position_bias
        )
        self.output_scale = check_flag("output_scale", output_scale)

    def block_name(self, index):
        return f"{self.side}-Transformer-{index}"

    def embedded(self, ids):
        """Returns the embeddings of tokens in `hidden_size` features."""
        x = self.dropout(self.tokens(ids), f"{self.side}-Embedding-Dropout")
        name = f"{self.side}-Embedding-Mapping"
        return self.mapping(x, self.hidden_size, name, use_bias=True)

    def bias_layer(self, bidirectional):
        """Returns the layer of relative positions, shared by all blocks."""
        return self.apply(
            layer=RelativePositionBias,
            num_heads=self.num_attention_heads,
            bidirectional=bidirectional,
            embeddings_initializer=self.initializer,
            name=f"{self.side}-Embedding-Relative-Position",
        )

    def normalized_output(self, x):
        """Returns the last hidden states."""
        x = self.norm(x, f"{self.side}-Output-Norm")
        return self.dropout(x, f"{self.side}-Output-Dropout")


class T5Encoder(T5Base):
    """The encoder of T5, which returns zeros at padding.

    Article: https://kexue.fm/archives/7867
        《那个屠榜的T5模型，现在可以在中文上玩玩了》
    Paper: https://arxiv.org/abs/1910.10683
    """

    side = "Encoder"

    def get_inputs(self):
        return self.input("Encoder-Input-Token")

    def apply_embeddings(self, inputs):
        return self.embedded(inputs)

    def compute_position_bias(self, inputs=None):
        if self.position_bias is None:
            self.position_bias = self.bias_layer(True)(inputs)
        return self.position_bias

    def apply_final_layers(self, inputs):
        x = self.normalized_output(inputs)
        return self.apply(x, ZeroMasked, name="Encoder-Output-Masked")


class T5Decoder(LMMask, T5Base):
    """The decoder of T5, a function of encoder output and tokens so far.

    Article: https://kexue.fm/archives/7867
        《那个屠榜的T5模型，现在可以在中文上玩玩了》
    Paper: https://arxiv.org/abs/1910.10683

    Differs: encoder states of zeros, which the encoder returns at padding, are
    not attended to; a decoder of bert4keras that is used alone attends to them.
    """

    side = "Decoder"

    def get_inputs(self):
        return [
            self.input("Input-Context", (self.hidden_size,)),
            self.input("Decoder-Input-Token"),
        ]

    def apply_embeddings(self, inputs):
        context = self.apply(
            inputs[0], keras.layers.Masking, name="Masked-Context"
        )
        return [context, self.embedded(inputs[1])]

    def apply_main_layers(self, inputs, index):
        context, x = inputs
        block = self.block_name(index)
        here, across = self.compute_position_bias([x, context])
        name = f"{block}-MultiHeadSelfAttention"
        arguments = {"attention_mask": self.compute_attention_bias(index)}
        x = self.sublayer(
            x, name, self.attend, attention_bias=here, **arguments
        )
        name = f"{block}-MultiHeadCrossAttention"
        arguments = {"value": context}
        if across is not None:
            arguments["attention_bias"] = across
        x = self.sublayer(x, name, self.attend, **arguments)
        x = self.sublayer(x, f"{block}-FeedForward", self.feed_forward)
        return [context, x]

    def compute_attention_bias(self, inputs=None):
        every, self.inputs = self.inputs, self.inputs[-1:]
        mask = super().compute_attention_bias(inputs)
        self.inputs = every
        return mask

    def compute_position_bias(self, inputs=None):
        if self.position_bias is None:
            x, context = inputs
            bias = self.bias_layer(False)
            across = bias(x, context) if self.cross_position_bias else None
            self.position_bias = bias(x), across
        return self.position_bias

    def apply_final_layers(self, inputs):
        x = self.normalized_output(inputs[1])
        if self.output_scale:
            x = self.apply(
                x,
                ScaleOffset,
                scale=self.hidden_size**-0.5,
                offset=False,
                name="Decoder-Output-Scale",
            )
        if not self.with_lm:
            return x
        name = "Decoder-Output-Mapping"
        x = self.mapping(x, self.embedding_size, name, use_bias=True)
        if self.version == "t5.1.0":
            x, name = self.tied_logits(x), "Decoder-Output-LM-Activation"
            return self.activation(x, self.with_lm, name)
        act = "softmax" if self.with_lm is True else self.with_lm
        return self.dense(
            x, self.vocab_size, "Decoder-Output-LM", activation=act
        )


class T5(T5Base):
    """Encoder and decoder of T5, also as separate models.

    Article: https://kexue.fm/archives/7867
        《那个屠榜的T5模型，现在可以在中文上玩玩了》
    Paper: https://arxiv.org/abs/1910.10683

    Attributes:
        encoder, decoder: `keras.Model`s with the same layers as `model`.
    """

    # an additional input would be one of both halves
    rejected = (
        "layer_norm_cond",
        "layer_norm_cond_hidden_size",
        "layer_norm_cond_hidden_act",
        "additional_input_layers",
    )

    def __init__(self, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        kwargs["layers"] = self.layers
        self._encoder, self._decoder = (
            cls(name=f"{name}_{cls.side}" if name else cls.side, **kwargs)
            for cls in (T5Encoder, T5Decoder)
        )

    def build(self, **kwargs):
        if self.model is not None:
            return
        self._encoder.wait = self._decoder.wait = self.wait
        self._encoder.build(**kwargs)
        self._decoder.build(**kwargs)
        self.encoder, self.decoder = self._encoder.model, self._decoder.model
        ids = self.decoder.inputs[1:]
        self.set_inputs([*self._encoder.inputs, *ids])
        # applied to the same layers again, for a model without inner models
        self.set_outputs(self._decoder.call([self._encoder.output, *ids]))
        self.model = keras.Model(self.input, self.output, name=self.name)
