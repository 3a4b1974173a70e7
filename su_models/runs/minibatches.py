"""Shuffled batches that can be reproduced after an interruption."""

import keras
import numpy as np


class Minibatches(keras.utils.PyDataset):
    """An endless stream of shuffled examples, in epochs of fixed size.

    The order in an epoch depends only on the seed and the number of the
    epoch, so a training that resumes at epoch n receives the same batches as
    an uninterrupted one. `follow` is a callback that updates the number.

    Args:
        examples: an array; a dict or list of arrays, for a model with several
            inputs; or a tuple `(x, y)` or `(x, y, sample_weight)` of these.
            All are shuffled in the same way along axis 0.
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
        # a tuple, since Keras would unpack a single array
        return batch if isinstance(batch, tuple) else (batch,)
