"""ALBERT: one block, applied again and again."""

from su_models.models.transformer.bert import BERT


class ALBERT(BERT):
    """A BERT whose blocks share all weights.

    Paper: https://arxiv.org/abs/1909.11942

    ε of the normalizations within the block is 1e-7, as in bert4keras; the
    embeddings' and the head's is 1e-12. `layer_norm_epsilon` sets all.
    """

    def __init__(self, layer_norm_epsilon=None, **kwargs):
        super().__init__(layer_norm_epsilon=layer_norm_epsilon, **kwargs)
        self.block_epsilon = layer_norm_epsilon or 1e-7

    def block_name(self, index):
        return "Transformer"

    def norm(self, x, name, **kwargs):
        if name.startswith("Transformer"):
            kwargs["epsilon"] = self.block_epsilon
        return super().norm(x, name, **kwargs)


class ALBERTUnshared(BERT):
    """A BERT that begins with ALBERT's one block in all of its blocks.

    Paper: https://arxiv.org/abs/1909.11942
    """
