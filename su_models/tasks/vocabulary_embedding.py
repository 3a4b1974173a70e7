"""A token embedding that knows its tokens."""

import keras

from su_models.layers.core.embedding import Embedding


@keras.saving.register_keras_serializable(package="su_models")
class VocabularyEmbedding(Embedding):
    """An `Embedding` whose rows belong to the tokens of a vocabulary.

    The tokens are part of the layer's config, so that a `.keras` file alone
    suffices to read and write text with its model.

    Args:
        tokens: list of different strings, in the order of their ids.
        output_dim: int > 0. Size of a vector.
        **kwargs: the other arguments of `su_models.layers.Embedding`.

    Raises:
        ValueError: if `tokens` are not different strings, at least one.
    """

    def __init__(self, tokens, output_dim, **kwargs):
        tokens = list(tokens)
        if (
            not tokens
            or not all(isinstance(token, str) for token in tokens)
            or len({*tokens}) < len(tokens)
        ):
            raise ValueError(
                "`tokens` must be different strings, at least one. "
                f"Received: tokens={tokens!r}"
            )
        super().__init__(len(tokens), output_dim, **kwargs)
        self.tokens = tokens

    def get_config(self):
        config = {**super().get_config(), "tokens": list(self.tokens)}
        del config["input_dim"]
        return config
