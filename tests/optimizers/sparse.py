"""Gradients of tables and a model that looks rows up, for several tests."""

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
# JAX without jit runs op by op: true to the reference, but slow
JITS = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]
ROWS, DIM = 11, 3
rng = np.random.default_rng
# seven batches; ids 7 to 10 are never there, id 2 is in each sample
IDS = rng(1).integers(7, size=(28, 5)).astype("int32")
IDS[:, 0] = 2
TARGETS = rng(2).normal(size=(28, DIM)).astype("float32")
START = rng(3).normal(size=(ROWS, DIM)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


def near(got, want, atol=1e-6):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(to_numpy(a), b, rtol=0, atol=atol)


def summed(ids, values, rows=ROWS):
    """Returns the whole gradient of a table as an array."""
    whole = np.zeros((rows, *np.shape(values)[1:]), "float32")
    np.add.at(whole, ids, values)
    return whole


def gradient(ids, values, rows=ROWS):
    """Returns the gradient that the backend makes of a lookup."""
    if BACKEND != "tensorflow":
        return ops.convert_to_tensor(summed(ids, values, rows))
    import tensorflow as tf

    values = tf.constant(values, "float32")
    shape = tf.constant([rows, *values.shape[1:]])
    return tf.IndexedSlices(values, tf.constant(ids, "int32"), shape)


def table(value=START):
    return keras.Variable(np.array(value, "float32"), name="embeddings")


def lookup(optimizer, jit=JITS[0], **kwargs):
    """Returns a compiled model: the mean of the rows of five ids."""
    inputs = keras.Input((5,), dtype="int32")
    layer = keras.layers.Embedding(ROWS, DIM, name="token", **kwargs)
    mean = keras.layers.GlobalAveragePooling1D()(layer(inputs))
    model = keras.Model(inputs, mean)
    model.set_weights([START])
    model.compile(optimizer, "mse", jit_compile=jit)
    return model


def fit(model, n=28, start=0, **kwargs):
    kwargs = {"batch_size": 4, "shuffle": False, "verbose": 0, **kwargs}
    model.fit(IDS[start:n], TARGETS[start:n], **kwargs)
    return to_numpy(model.trainable_variables[0])


def slope(weight, ids, targets):
    """Returns the gradient of the loss of `lookup`, by hand."""
    d = 2 * (weight[ids].mean(axis=1) - targets) / targets.size
    whole = np.zeros_like(weight)
    np.add.at(whole, ids, d[:, None] / ids.shape[1])
    return whole


def train(optimizer, size=4, n=28):
    """Returns the weights after each step of a reference, in float64."""
    weights = [START.astype("float64")]
    for i in range(0, n, size):
        g = slope(weights[-1], IDS[i : i + size], TARGETS[i : i + size])
        weights.append(optimizer.step(weights[-1], g))
    return weights[1:]
