"""Draws any number of samples with a program for one batch."""

import keras
import numpy as np
from keras import ops

from su_models.backend.sequential_map import sequential_map
from su_models.utils.checks import MAX_SEED, check_integer, check_size


class Batches:
    """Draws samples in batches of a fixed size, in Python or a SavedModel.

    One program serves any number of samples, and the first samples of a seed
    do not depend on the number of samples.

    Args:
        batch: function of the seed and the index of the batch, int32 scalars,
            that returns a float32 tensor of shape `shape`.
        shape: ints, `(batch_size, ...)`.
    """

    def __init__(self, batch, shape):
        self.batch = batch
        self.shape = tuple(shape)

    def sample(self, num_samples, seed=0, progress=False):
        """Returns samples, a float32 array `(num_samples, ...)`.

        Args:
            num_samples: int >= 1.
            seed: int from 0 to 2³¹ - 1.
            progress: bool. Whether to show a progress bar over the batches.
        """
        num_samples = check_size("num_samples", num_samples)
        seed, done = check_integer("seed", seed, 0, MAX_SEED - 1), []
        count = -(-num_samples // self.shape[0])
        bar = (
            keras.utils.Progbar(count, unit_name="batch") if progress else None
        )
        for k in range(count):
            done.append(ops.convert_to_numpy(self.batch(seed, k)))
            if progress:
                bar.update(k + 1)
        return np.concatenate(done)[:num_samples]

    def endpoint(self):
        """Returns a function `sample(seed, num_samples)` for the export.

        Pass it to `su_models.export.export_saved_model` in `endpoints`. The
        artifact's function takes two int32 numbers and returns the same
        samples as `self.sample`, or none if `num_samples` is below 1. The
        batches are computed one after the other.

        Returns:
            A function with an attribute `input_signature`.
        """
        size, *rest = self.shape

        def sample(seed, num_samples):
            count = -(-num_samples // size)
            x = sequential_map(lambda k: self.batch(seed, k), count, self.shape)
            return ops.reshape(x, (-1, *rest))[:num_samples]

        sample.input_signature = [
            keras.InputSpec(shape=(), dtype="int32", name=name)
            for name in ("seed", "num_samples")
        ]
        return sample
