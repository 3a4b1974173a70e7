"""NEZHA: fixed embeddings of relative positions."""

from su_models.layers.attention.relative_multi_head_attention import (
    RelativeMultiHeadAttention,
)
from su_models.layers.position.relative_position_embedding import (
    RelativePositionEmbedding,
)
from su_models.models.transformer.bert import BERT


class NEZHA(BERT):
    """A BERT with relative instead of absolute positions.

    Article: https://kexue.fm/archives/8130
        《让研究人员绞尽脑汁的Transformer位置编码》
    Paper: https://arxiv.org/abs/1909.00204

    As in bert4keras, ε is 1e-7 for the normalizations, and 1e-12 for that of
    the masked language model's head. `layer_norm_epsilon` sets all.
    """

    epsilon = 1e-7
    attention_layer = RelativeMultiHeadAttention
    position_argument = "relative_embeddings"

    def __init__(self, layer_norm_epsilon=None, **kwargs):
        super().__init__(layer_norm_epsilon=layer_norm_epsilon, **kwargs)
        self.head_epsilon = layer_norm_epsilon or 1e-12

    def positions(self, x):
        return x  # positions enter in the attention

    def norm(self, x, name, **kwargs):
        if name == "MLM-Norm":
            kwargs["epsilon"] = self.head_epsilon
        return super().norm(x, name, **kwargs)

    def compute_position_bias(self, inputs=None):
        if self.position_bias is None:
            self.position_bias = self.apply(
                inputs,
                RelativePositionEmbedding,
                input_dim=2 * 64 + 1,
                output_dim=self.attention_key_size,
                sinusoidal=True,
                name="Embedding-Relative-Position",
            )
        return self.position_bias
