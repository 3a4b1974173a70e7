"""Base of the tasks that generate images."""

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops

from su_models.data.registry import REGISTRY, load, names
from su_models.tasks.base import Task
from su_models.tasks.image_judge import judge_of, scaled
from su_models.utils.checks import check_choice
from su_models.utils.picture import side_by_side

BATCH_SIZE = 100  # number of images that are drawn at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTask(Task):
    """Base of tasks that learn the images of a data set and draw new ones.

    A subclass also defines `batches_of_samples`.

    Args:
        data: name of a data set of images; its training images are used.
    """

    sample_endings: ClassVar[tuple[str, ...]] = (".png", ".npy")

    data: str = "digits"

    def __post_init__(self):
        super().__post_init__()
        check_choice("data", self.data, names())
        if REGISTRY[self.data].white is None:
            raise ValueError(
                "`data` must be a data set of images. "
                f"Received: data={self.data}"
            )

    def batches_of_samples(self, model, batch_size):
        """Returns the `su_models.sampling.batches.Batches` of images."""
        raise NotImplementedError

    def images(self, split="train"):
        """Returns the images of a split, float32, scaled to -1 ... 1."""
        x = load(self.data)[split]["x"]
        return scaled(x, REGISTRY[self.data].white)

    def examples(self):
        """Returns the training images."""
        return self.images()

    def check_examples(self, examples, model):
        """Rejects images that do not fit the model."""
        shape = model.inputs[0].shape[1:]
        if (
            np.ndim(examples) != 4
            or not len(examples)
            or examples.shape[1:] != shape
        ):
            raise ValueError(
                f"The images must be (n, {', '.join(map(str, shape))}), at "
                f"least one. Received: shape={np.shape(examples)}"
            )
        bad = examples.size - np.isfinite(examples).sum()
        if bad:
            raise ValueError(
                "The images must be finite. Received: "
                f"{bad} of {examples.size} entries are NaN or infinite"
            )
        if examples.dtype.kind != "f" or np.abs(examples).max() > 1.5:
            raise ValueError(
                "The images must be floats scaled to -1 ... 1. Received: "
                f"dtype={examples.dtype}, largest={np.abs(examples).max()}"
            )

    def sample(self, model, number, seed=0, progress=False):
        """Returns images, float32 `(number, height, width, channels)`."""
        batches = self.batches_of_samples(model, BATCH_SIZE)
        return batches.sample(number, seed, progress)

    def pictures(self, model, seed=0, columns=10):
        """Returns `"samples"`: samples on the left, real images on the right.

        The endpoint `"draw"` gives the same picture.
        """
        made = self.sample(model, columns**2, seed)
        real = self.images()[: columns**2]
        return {"samples": side_by_side(made, real, columns)}

    def endpoints(self, model, columns=10, batch_size=BATCH_SIZE):
        """Returns functions to export with a model, by name.

        Args:
            model: the model that `train` returned.
            columns: int. Number of rows and of columns of the pictures.
            batch_size: int. Number of images that are drawn at once.

        Returns:
            A dict: `"sample"`, `(seed, num_samples)` → float32 images, and
            `"draw"`, `(seed,)` → a uint8 picture with samples on the left and
            real images on the right. Seeds and numbers are int32 scalars.
        """
        sample = self.batches_of_samples(model, batch_size).endpoint()
        real = self.images()[: columns**2]

        def draw(seed):
            made = ops.reshape(sample(seed, columns**2), real.shape)
            return side_by_side(made, real, columns)

        draw.input_signature = sample.input_signature[:1]
        return {"sample": sample, "draw": draw}

    def evaluate(self, model, progress=False, number=None):
        """Returns metrics of samples with seed 0 by the data set's judge.

        Args:
            model: the model that `train` returned.
            progress: bool. Whether to show a progress bar.
            number: optional int. Number of samples. Defaults to that of the
                judge.
        """
        judge = judge_of(self.data)
        number = judge.num_samples if number is None else number
        return judge(self.sample(model, number, 0, progress))
