"""Embeddings inside of a layer, as in many Keras models."""

import keras
from keras import layers, ops


class TokensAndPositions(layers.Layer):
    """The sum of a token's embedding and that of its place."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(9, 4, name="tokens")
        self.places = layers.Embedding(7, 4, name="places")

    def call(self, ids):
        return self.tokens(ids) + self.places(ops.arange(7))


def composite(more=True):
    """A classifier of seven tokens; with a table in the graph if `more`."""
    keras.utils.set_random_seed(1)
    ids = keras.Input((7,), dtype="int32")
    x = TokensAndPositions(name="composite")(ids)
    if more:
        x = x + layers.Embedding(9, 4, name="more")(ids)
    x = layers.GlobalAveragePooling1D()(layers.Activation("tanh")(x))
    return keras.Model(ids, layers.Dense(3)(x))
