"""An initializer for weights that a checkpoint is about to give."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="su_models")
class Postponed(keras.initializers.Initializer):
    """Zeros while a checkpoint is being waited for, then an initializer.

    Article: https://kexue.fm/archives/6915
        《自己实现了一个bert4keras》

    Random numbers take most of the time that it takes to build a large model,
    and are of no use if all weights are loaded next. Copies of the layers,
    made from their configuration, begin with the initializer.

    Args:
        initializer: a `keras.initializers.Initializer`.
        wait: optional `Wait`, shared by all that wait for one checkpoint.
    """

    def __init__(self, initializer, wait=None):
        self.initializer = keras.initializers.get(initializer)
        self.wait = wait

    def __call__(self, shape, dtype=None, **kwargs):
        if self.wait is not None and self.wait.on:
            return ops.zeros(shape, dtype)
        return self.initializer(shape, dtype, **kwargs)

    def clone(self):
        return Postponed(self.initializer.clone(), self.wait)

    def get_config(self):
        serialize = keras.initializers.serialize
        return {"initializer": serialize(self.initializer)}


class Wait:
    """Tells whether a checkpoint is still being waited for.

    Article: https://kexue.fm/archives/6915
        《自己实现了一个bert4keras》

    Attributes:
        on: bool.
    """

    def __init__(self):
        self.on = True
