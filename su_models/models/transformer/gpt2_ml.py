"""GPT2-ML: between GPT and GPT-2."""

from su_models.models.transformer.gpt import GPT


class GPT2ML(GPT):
    """A language model that normalizes within the feed-forward part.

    Paper: https://github.com/imcaspar/gpt2-ml

        x ← x + Attention(x), x ← Norm₁(x + FeedForward(Norm₀(x)))
    """

    epsilon = 1e-5

    def __init__(self, segment_vocab_size=0, **kwargs):
        super().__init__(segment_vocab_size=0, **kwargs)

    def apply_embeddings(self, inputs):
        x = self.positions(self.tokens_and_segments(inputs))
        x = self.norm(x, "Embedding-Norm")
        return self.mapping(x, self.hidden_size, "Embedding-Mapping")

    def apply_main_layers(self, inputs, index):
        name = f"{self.block_name(index)}-MultiHeadSelfAttention"
        arguments = self.attention_arguments(inputs, index)
        y = self.attend(inputs, name, **arguments)
        y = self.dropout(y, f"{name}-Dropout")
        x = self.add(inputs, y, f"{name}-Add")
        name = f"{self.block_name(index)}-FeedForward"
        y = self.feed_forward(self.norm(x, f"{name}-Norm-0"), name)
        y = self.dropout(y, f"{name}-Dropout")
        return self.norm(self.add(x, y, f"{name}-Add"), f"{name}-Norm-1")
