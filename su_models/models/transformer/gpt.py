"""GPT: a causal BERT whose embeddings are not normalized."""

from su_models.models.transformer.bert import BERT
from su_models.models.transformer.masks import LMMask


class GPT(LMMask, BERT):
    """A language model with post-norm blocks.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    Args:
        final_activation: activation of the scores of the next token.
        **kwargs: arguments of `BERT` except `with_pool`, `with_nsp`,
            `with_mlm`.
    """

    rejected = ("with_pool", "with_nsp", "with_mlm")

    def __init__(self, final_activation="softmax", **kwargs):
        super().__init__(**kwargs)
        self.final_activation = final_activation

    def apply_embeddings(self, inputs):
        x = self.positions(self.tokens_and_segments(inputs))
        x = self.dropout(x, "Embedding-Dropout")
        return self.mapping(x, self.hidden_size, "Embedding-Mapping")

    def apply_final_layers(self, inputs):
        x = self.tied_logits(
            self.mapping(inputs, self.embedding_size, "Output-Mapping")
        )
        return self.activation(x, self.final_activation, "LM-Activation")
