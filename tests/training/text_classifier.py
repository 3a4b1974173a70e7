"""A text classifier so small that its gradients are written out in NumPy.

The mean of the embeddings of a text, a linear layer, and the mean
cross-entropy of the batch.
"""

import keras
import numpy as np
from keras import layers

from tests.contract import JIT, integers, normal

VOCABULARY, DIM, CLASSES, LENGTH, BATCH = 9, 4, 3, 6, 5


def data(batch=BATCH):
    """Texts in which tokens repeat, and their classes."""
    return integers(VOCABULARY - 2, batch, LENGTH), integers(CLASSES, batch)


def start():
    """The weights of the classifier: E, W, b."""
    return [
        normal(VOCABULARY, DIM),
        normal(DIM, CLASSES)[::-1].copy(),
        normal(CLASSES),
    ]


def classifier(seed=None, dropout=0.0):
    """The model, of logits; with dropout if asked for."""
    ids = keras.Input((LENGTH,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, DIM, name="tokens")(ids)
    x = layers.GlobalAveragePooling1D()(x)
    if dropout:
        x = layers.Dropout(dropout, seed=seed)(x)
    model = keras.Model(ids, layers.Dense(CLASSES, name="classes")(x))
    model.set_weights(start())
    return model


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(net, batches=1, rate=0.5, jit=False, optimizer=None, **kwargs):
    """Trains on equal batches; returns the history."""
    x, y = data()
    eager = keras.config.backend() == "tensorflow" and not jit
    net.compile(
        optimizer or keras.optimizers.SGD(rate),
        crossentropy(),
        jit_compile=jit and JIT,
        run_eagerly=eager,  # TensorFlow takes its time over graphs
    )
    x, y = (np.concatenate([a] * batches) for a in (x, y))
    kwargs = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **kwargs}
    return net.fit(x, y, **kwargs).history


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reference(weights, x, y, deltas=0.0):
    """The loss and its gradients by E, W, b and by each look-up.

    Args:
        weights: E, W, b.
        x: texts, `(b, n)`.
        y: classes `(b,)`, or their probabilities `(b, c)`.
        deltas: what is added to each look-up, `(b, n, d)`.
    """
    table, w, b = (np.asarray(v, "float64") for v in weights)
    looked_up = table[x] + deltas  # (b, n, d)
    h = looked_up.mean(axis=1)
    p = softmax(h @ w + b)
    target = np.eye(w.shape[1])[y] if y.ndim == 1 else y
    loss = -(target * np.log(p)).sum(-1).mean()
    dz = (p - target) / len(x)
    slices = np.repeat((dz @ w.T)[:, None] / x.shape[1], x.shape[1], axis=1)
    by_table = np.zeros_like(table)
    np.add.at(by_table, x, slices)
    return loss, [by_table, h.T @ dz, dz.sum(0)], slices


def assert_weights(model, expected, atol=2e-6):
    for v, e in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(v, e, atol=atol)
