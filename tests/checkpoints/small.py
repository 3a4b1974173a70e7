"""A small BERT with bert4keras' layer names, and files of its weights."""

import keras
import numpy as np

from su_models.layers import (
    LayerNormalization,
    MultiHeadAttention,
    PositionEmbedding,
)
from tests.contract import to_numpy

VOCABULARY, SEGMENTS, POSITIONS = 15, 2, 16
HIDDEN, INNER, HEADS = 4, 16, 2


class FeedForward(keras.layers.Layer):
    """Two dense layers with the names of the library's."""

    def build(self, shape):
        dense, dtype = keras.layers.Dense, self.dtype_policy
        self.hidden_0 = dense(INNER, "gelu", name="hidden_0", dtype=dtype)
        self.hidden_0.build(shape)
        self.outer = dense(HIDDEN, name="output", dtype=dtype)
        self.outer.build((*shape[:-1], INNER))

    def call(self, x):
        return self.outer(self.hidden_0(x))


class Bias(keras.layers.Layer):
    def build(self, shape):
        self.beta = self.add_weight(shape=shape[-1:], name="beta")

    def call(self, x):
        return x + self.beta


def small_bert(
    blocks=2,
    heads=True,
    vocabulary=VOCABULARY,
    prefix="",
    segments=SEGMENTS,
    positions=POSITIONS,
    **kwargs,
):
    """A functional model; `heads` are pooling, next sentence and tokens."""

    def named(cls, name, *args, **more):
        return cls(*args, name=prefix + name, **more, **kwargs)

    tokens = keras.Input((None,), dtype="int32")
    segment_ids = keras.Input((None,), dtype="int32")
    Embedding, Dense = keras.layers.Embedding, keras.layers.Dense
    table = named(
        keras.layers.ReversibleEmbedding, "Embedding-Token", vocabulary, HIDDEN
    )
    x = table(tokens)
    table_of_segments = named(Embedding, "Embedding-Segment", segments, HIDDEN)
    x = x + table_of_segments(segment_ids)
    x = named(PositionEmbedding, "Embedding-Position", positions, HIDDEN)(x)
    x = named(LayerNormalization, "Embedding-Norm")(x)
    for i in range(blocks):
        name = f"Transformer-{i}-MultiHeadSelfAttention"
        y = named(MultiHeadAttention, name, HEADS, HIDDEN // HEADS)(x)
        x = named(LayerNormalization, f"{name}-Norm")(x + y)
        name = f"Transformer-{i}-FeedForward"
        x = named(LayerNormalization, f"{name}-Norm")(
            x + named(FeedForward, name)(x)
        )
    if not heads:
        return keras.Model([tokens, segment_ids], x)
    pooled = named(Dense, "Pooler-Dense", HIDDEN, activation="tanh")(x[:, 0])
    following = named(Dense, "NSP-Proba", 2, activation="softmax")(pooled)
    x = named(Dense, "MLM-Dense", HIDDEN, activation="gelu")(x)
    x = named(LayerNormalization, "MLM-Norm")(x)
    x = named(Bias, "MLM-Bias")(table(x, reverse=True))
    return keras.Model([tokens, segment_ids], [following, x])


def randomize(model, seed=0):
    """Gives a model other weights, and returns them."""
    random = np.random.default_rng(seed)
    weights = [random.normal(size=w.shape) for w in model.weights]
    model.set_weights([w.astype("float32") for w in weights])
    return weights_of(model)


def weights_of(model):
    return [to_numpy(w) for w in model.weights]


def assert_equal(model, weights):
    """The weights are these, to the bit."""
    for ours, theirs in zip(weights_of(model), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
