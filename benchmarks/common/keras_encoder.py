"""An encoder of Keras 3 in this process, for `benchmarks/encoder.py`."""

import keras
import numpy as np


class KerasEncoder:
    """An encoder with a classifier of its first token.

    Its forms share weights and the optimizer's slots.

    Args:
        name: str, for tables.
        forms: dict from the names of forms to `jit_compile`.
        inputs: list of the symbolic inputs, ids and segments.
        hidden: symbolic hidden states, `(batch, length, features)`.
        head: `(kernel, bias)` of the classifier.
        optimizer: the `keras.optimizers.Optimizer`.
    """

    def __init__(self, name, forms, inputs, hidden, head, optimizer):
        self.name, self.forms = name, tuple(forms)
        dense = keras.layers.Dense(2, dtype="float32")
        logits = dense(hidden[:, 0])
        dense.set_weights(head)
        self.optimizer = optimizer
        self.encoders, self.classifiers = {}, {}
        for form, compiled in forms.items():
            self.encoders[form] = keras.Model(inputs, hidden)
            self.encoders[form].compile(jit_compile=compiled)
            self.classifiers[form] = keras.Model(inputs, logits)
            self.classifiers[form].compile(
                self.optimizer,
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                jit_compile=compiled,
            )
        self.weights = self.classifiers[self.forms[0]].get_weights()

    def prepare(self, path):
        """Reads a batch, an `.npz` file of ids, segments and labels.

        The weights become the initial ones.
        """
        self.classifiers[self.forms[0]].set_weights(self.weights)
        with np.load(path) as arrays:
            self.x = [arrays["ids"], arrays["segments"]]
            self.y = arrays["labels"]

    def hidden(self, form, path):
        """Writes the hidden states to an `.npy` file."""
        found = self.encoders[form].predict_on_batch(self.x)
        np.save(path, np.asarray(found, "float32"))

    def losses(self, form, steps):
        """Trains from the initial weights; returns the loss of each step."""
        model = self.classifiers[form]
        model.set_weights(self.weights)
        self.optimizer.build(model.trainable_variables)
        for variable in self.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(keras.ops.zeros(variable.shape))
        return [
            float(model.train_on_batch(self.x, self.y)) for _ in range(steps)
        ]

    def forward(self, form):
        """Runs a forward pass."""
        self.encoders[form].predict_on_batch(self.x)

    def step(self, form):
        """Takes a training step."""
        self.classifiers[form].train_on_batch(self.x, self.y)

    def close(self):
        """Frees the weights, with those of other models of Keras."""
        self.encoders = self.classifiers = self.optimizer = None
        keras.backend.clear_session()
