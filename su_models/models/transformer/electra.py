"""ELECTRA: the discriminator that detects replaced tokens."""

from su_models.models.transformer.bert import BERT


class ELECTRA(BERT):
    """A BERT that scores each token instead of a language model.

    Paper: https://arxiv.org/abs/2003.10555

    Args:
        max_position: int > 0. Rows of the position embedding.
        with_discriminator: False; True for the probability that a token was
            replaced; or the name of the activation.
        **kwargs: arguments of `BERT` except `with_pool`, `with_nsp`,
            `with_mlm`.
    """

    rejected = ("with_pool", "with_nsp", "with_mlm")

    def __init__(self, max_position=512, with_discriminator=False, **kwargs):
        super().__init__(max_position, **kwargs)
        self.with_discriminator = with_discriminator

    def apply_final_layers(self, inputs):
        head = self.with_discriminator
        if not head:
            return inputs
        x = self.dense(
            inputs,
            self.hidden_size,
            "Discriminator-Dense",
            activation=self.hidden_act,
        )
        act = "sigmoid" if head is True else head
        return self.dense(x, 1, "Discriminator-Prediction", activation=act)
