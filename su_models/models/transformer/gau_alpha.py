"""GAU-α: gated attention units instead of attention and feed-forward."""

from su_models.layers.attention.gated_attention_unit import GatedAttentionUnit
from su_models.models.transformer.roformer_v2 import RoFormerV2
from su_models.models.transformer.scaled_truncated_normal import (
    ScaledTruncatedNormal,
)


class GAUAlpha(RoFormerV2):
    """A RoFormerV2 with gated attention units and twice as many blocks.

    Article: https://kexue.fm/archives/9052
        《GAU-α：尝鲜体验快好省的下一代Attention》

        x ← Norm(x + GAU(x))

    `intermediate_size` is the size of U and V, `attention_key_size` the size
    of queries and keys. Scores grow with the length ("softmax_plus").
    """

    @property
    def initializer(self):
        return ScaledTruncatedNormal(self.num_hidden_layers, order=3)

    def apply_main_layers(self, inputs, index):
        name = f"{self.block_name(index)}-GatedAttentionUnit"
        arguments = self.attention_arguments(inputs, index)
        return self.sublayer(inputs, name, self.attend, **arguments)

    def attend(self, x, name, **arguments):
        return self.apply(
            x,
            GatedAttentionUnit,
            arguments,
            units=self.intermediate_size,
            key_dim=self.attention_key_size,
            activation=self.hidden_act,
            use_bias=self.use_bias,
            rotary_base=self.rotary_base,
            normalization="softmax_plus",
            dropout=self.attention_dropout_rate,
            kernel_initializer=self.initializer,
            name=name,
        )
