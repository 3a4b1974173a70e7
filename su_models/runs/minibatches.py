"""Shuffled batches that are the same after an interruption."""

import keras
import numpy as np


class Minibatches(keras.utils.PyDataset):
    """Endless shuffled examples, cut into epochs of a fixed number of steps.

    Each epoch's order follows from the seed and the number of the epoch, so
    that a training which goes on with epoch n sees what it would have seen.
    `follow` is a callback that keeps the number up to date.

    Args:
        examples: an array; a dict or list of arrays, for a model with several
            inputs; or a tuple `(x, y)` or `(x, y, sample_weight)` of those.
            All are shuffled alike, along axis 0.
        batch_size: int >= 1.
        steps_per_epoch: int >= 1.
        seed: int >= 0.
    """

    def __init__(self, examples, batch_size, steps_per_epoch, seed):
        super().__init__()
        self.examples = examples
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.begin(0)
        self.follow = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.begin(epoch)
        )

    def begin(self, epoch):
        """Shuffles for the epoch of this number."""
        random = np.random.default_rng([self.seed, epoch])
        n = len(keras.tree.flatten(self.examples)[0])
        needed = self.batch_size * self.steps_per_epoch
        rounds = [random.permutation(n) for _ in range(-(-needed // n))]
        self.order = np.concatenate(rounds)

    def __len__(self):
        return self.steps_per_epoch

    def __getitem__(self, index):
        start = index * self.batch_size
        rows = self.order[start : start + self.batch_size]
        batch = keras.tree.map_structure(lambda a: a[rows], self.examples)
        # a tuple: Keras takes a bare array apart
        return batch if isinstance(batch, tuple) else (batch,)
