"""ALBERT: one block that is applied repeatedly."""

from su_models.models.transformer.bert import BERT


class ALBERT(BERT):
    """A BERT whose blocks share all weights.

    Paper: https://arxiv.org/abs/1909.11942

    As in bert4keras, ε is 1e-7 for the normalizations in the block, and 1e-12
    for those of the embeddings and the head. `layer_norm_epsilon` sets all.
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
    """A BERT whose blocks are all initialized with ALBERT's block.

    Paper: https://arxiv.org/abs/1909.11942
    """
