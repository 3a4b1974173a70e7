"""GPT-2: pre-norm blocks, no segments."""

from su_models.models.transformer.gpt import GPT


class GPT2(GPT):
    """A language model of pre-norm blocks.

    Article: https://kexue.fm/archives/7292
        《鱼与熊掌兼得：融合检索和生成的SimBERT模型》
    Paper: https://openai.com/index/better-language-models/

        x ← x + Attention(Norm(x)), x ← x + FeedForward(Norm(x))
    """

    epsilon = 1e-5

    def __init__(self, segment_vocab_size=0, **kwargs):
        super().__init__(segment_vocab_size=0, **kwargs)

    def apply_embeddings(self, inputs):
        x = self.positions(self.tokens_and_segments(inputs))
        return self.mapping(x, self.hidden_size, "Embedding-Mapping")

    def sublayer(self, x, name, layer, **arguments):
        y = layer(self.norm(x, f"{name}-Norm"), name, **arguments)
        y = self.dropout(y, f"{name}-Dropout")
        return self.add(x, y, f"{name}-Add")

    def apply_final_layers(self, inputs):
        x = self.norm(inputs, "Output-Norm")
        return super().apply_final_layers(self.dropout(x, "Output-Dropout"))
