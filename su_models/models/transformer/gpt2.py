"""GPT-2: pre-norm blocks without segments."""

from su_models.models.transformer.gpt import GPT


class GPT2(GPT):
    """A language model with pre-norm blocks.

    Article: https://kexue.fm/archives/7912
        《跟风玩玩目前最大的中文GPT2模型（bert4keras）》

        x ← x + Attention(Norm(x)), x ← x + FeedForward(Norm(x))

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
        return self.mapping(x, self.hidden_size, "Embedding-Mapping")

    def sublayer(self, x, name, layer, **arguments):
        y = layer(self.norm(x, f"{name}-Norm"), name, **arguments)
        y = self.dropout(y, f"{name}-Dropout")
        return self.add(x, y, f"{name}-Add")

    def apply_final_layers(self, inputs):
        x = self.norm(inputs, "Output-Norm")
        return super().apply_final_layers(self.dropout(x, "Output-Dropout"))
