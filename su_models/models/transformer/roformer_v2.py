"""RoFormerV2: a simplified RoFormer."""

from su_models.models.transformer.roformer import RoFormer
from su_models.models.transformer.scaled_truncated_normal import (
    ScaledTruncatedNormal,
)


class RoFormerV2(RoFormer):
    """A RoFormer without biases and with normalizations without weights.

    Article: https://kexue.fm/archives/8998
        《RoFormerV2：自然语言理解的极限探索》

        Norm(x) = x / √(mean x² + ε)

    The head of the masked language model is only the token embedding.
    `with_pool` and `with_nsp` are rejected, since it was trained without them.
    """

    use_bias = False
    rejected = ("with_pool", "with_nsp")
    norm_arguments = {"zero_mean": False, "scale": False, "offset": False}

    @property
    def initializer(self):
        return ScaledTruncatedNormal(self.num_hidden_layers)

    def apply_embeddings(self, inputs):
        x = self.tokens_and_segments(inputs)
        x = self.dropout(x, "Embedding-Dropout")
        x = self.norm(x, "Embedding-Norm")
        return self.mapping(x, self.hidden_size, "Embedding-Mapping")

    def masked_language_model(self, x):
        x = self.mapping(x, self.embedding_size, "Output-Mapping")
        x = self.tied_logits(self.dropout(x, "Output-MLM-Dropout"))
        return self.activation(x, self.with_mlm, "Output-MLM-Activation")
