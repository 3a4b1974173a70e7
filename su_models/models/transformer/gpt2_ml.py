"""GPT2-ML: a model between GPT and GPT-2."""

from su_models.models.transformer.gpt import GPT


class GPT2ML(GPT):
    """A language model that normalizes around the feed-forward network.

    Article: https://kexue.fm/archives/7292
        《现在可以用Keras玩中文GPT2了（GPT2_ML）》

        x ← x + Attention(x), x ← Norm₁(x + FeedForward(Norm₀(x)))

    Args:
        segment_vocab_size: ignored, since the model has no segments; accepted
            because configurations of checkpoints contain it.
        **kwargs: arguments of `GPT`.
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
