"""A task so small that its training is a matter of seconds."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from su_models.optimizers import Lookahead
from su_models.tasks.base import Task

# tracing takes TensorFlow longer than all the steps
EAGER = keras.config.backend() == "tensorflow"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line(Task):
    task_name: ClassVar[str] = "line"
    sample_endings: ClassVar[tuple[str, ...]] = (".txt", ".npy")

    steps: int = 6
    steps_per_epoch: int = 2
    batch_size: int = 4
    learning_rate: float = 0.1
    jit_compile: bool = False
    width: int = 3

    def examples(self):
        x = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
        return x, x[:, :1]

    def build(self):
        return keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(self.width),
                keras.layers.Dropout(0.5, seed=self.seed),
                keras.layers.Dense(1),
            ]
        )

    def trainer(self, model):
        adam = keras.optimizers.Adam(
            self.learning_rate, use_ema=True, ema_momentum=0.9
        )
        model.compile(
            Lookahead(adam, 3),
            "mse",
            metrics=["mae"],
            jit_compile=self.jit_compile,
            run_eagerly=EAGER,
        )
        return model

    def evaluate(self, model, progress=False):
        x, y = self.examples()
        return {"error": np.mean((model.predict(x, verbose=0) - y) ** 2)}

    def pictures(self, model, seed=0):
        return {"grey": ops.full((4, 6, 1), 100 + seed, "uint8")}

    def sample(self, model, number, seed=0, progress=False):
        return [f"word {seed + i}" for i in range(number)]


def weights(model):
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


def assert_equal(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
