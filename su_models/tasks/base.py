"""Base of the tasks: settings, and the training of a model from them."""

import dataclasses
import json
from typing import ClassVar

import keras

from su_models.runs.minibatches import Minibatches
from su_models.runs.train import train_run
from su_models.utils.checks import (
    check_flag,
    check_positive,
    check_seed,
    check_size,
)
from su_models.utils.nearest import nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Base of tasks: the settings of a training, and methods for commands.

    A subclass is a frozen dataclass whose fields are its settings; they are
    checked on creation and stored in `config.json`. It provides the training
    data, builds the model, and defines the uses of the model. The parts that
    all trainings share are in `su_models.runs`: the folder and its lock,
    backups, resumption, the progress bar, the history and the files.

    A subclass defines `task_name`, `examples`, `build` and `trainer`, and
    those of the other methods that it supports. The model of a run is one
    `keras.Model`; its parts (an encoder, a generator) are its layers.

    Args:
        steps: int. Number of training steps.
        batch_size: int. Number of examples per step.
        steps_per_epoch: int. Steps between two backups; divides `steps`.
        learning_rate: float. Highest learning rate.
        jit_compile: bool. Whether to compile the training step with XLA, if
            the backend has it.
        seed: int. Seed of weights, order, and all other random numbers.
    """

    task_name: ClassVar[str]
    loss_label: ClassVar[str] = "loss"
    sample_endings: ClassVar[tuple[str, ...]] = ()  # the default comes first
    generate_options: ClassVar[tuple[str, ...]] = ()  # of `generate`

    steps: int = 1000
    batch_size: int = 128
    steps_per_epoch: int = 100
    learning_rate: float = 1e-3
    jit_compile: bool = True
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "steps_per_epoch"):
            self.keep(name, check_size(name, getattr(self, name)))
        self.keep(
            "learning_rate", check_positive("learning_rate", self.learning_rate)
        )
        self.keep("jit_compile", check_flag("jit_compile", self.jit_compile))
        self.keep("seed", check_seed(self.seed))
        if self.seed is None:
            raise ValueError("`seed` must be an integer. Received: seed=None")
        if self.steps % self.steps_per_epoch:
            raise ValueError(
                "`steps_per_epoch` must divide `steps`. Received: "
                f"steps={self.steps}, steps_per_epoch={self.steps_per_epoch}"
            )

    def keep(self, name, value):
        """Sets a field to its checked value, in `__post_init__`."""
        object.__setattr__(self, name, value)

    # ---- settings

    def settings(self):
        """Returns the task's name and its settings, as read from JSON."""
        fields = {"task": self.task_name, **dataclasses.asdict(self)}
        return json.loads(json.dumps(fields))

    def with_settings(self, changes):
        """Returns this task with other settings.

        Args:
            changes: dict from names of settings to values. A string that is a
                number, a list, true, false or null in JSON is parsed.

        Raises:
            ValueError: if a name is unknown (the message suggests the nearest
                name) or a value is invalid.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(
                    f"The task {self.task_name} has no such setting. Did you "
                    f"mean {nearest(name, known)}? Received: {name}"
                )
        values = {name: parsed(value) for name, value in changes.items()}
        return dataclasses.replace(self, **values)

    def with_steps(self, steps):
        """Returns this task with another number of steps, in whole epochs."""
        steps = check_size("steps", steps)
        longest = min(steps, self.steps_per_epoch)
        fitting = (n for n in range(longest, 0, -1) if steps % n == 0)
        return dataclasses.replace(
            self, steps=steps, steps_per_epoch=next(fitting)
        )

    # ---- training

    def train(self, folder, examples=None, progress=True):
        """Trains the task, or resumes an interrupted training.

        Args:
            folder: folder of the run, which is created if necessary.
            examples: optional training data instead of `examples()`.
            progress: bool. Whether to show a progress bar.

        Returns:
            The model. A finished run is loaded instead of trained again.

        Raises:
            ValueError: if the folder holds another run, or the examples do
                not fit the model.
            BlockingIOError: if another process is writing in the folder.
            OSError: if the folder cannot be written. These three are raised
                before training.
            FloatingPointError: if a reported number is no longer finite.
        """
        return train_run(self, folder, examples, progress)

    def examples(self):
        """Returns the training data, an array or a structure of arrays."""
        raise NotImplementedError

    def build(self):
        """Returns the model of the run, a `keras.Model`."""
        raise NotImplementedError

    def trainer(self, model):
        """Returns a compiled model with the layers of `model`, for `fit`."""
        raise NotImplementedError

    def check_examples(self, examples, model):
        """Raises a ValueError for examples that cannot be trained on."""

    def batches(self, examples):
        """Returns a dataset with a callback `follow`, like `Minibatches`."""
        return Minibatches(
            examples, self.batch_size, self.steps_per_epoch, self.seed
        )

    def callbacks(self, model):
        """Returns further Keras callbacks of the training, a list."""
        return []

    # ---- uses of the model

    def pictures(self, model, seed=0):
        """Returns uint8 pictures that illustrate the model, by name."""
        return {}

    def evaluate(self, model, progress=False):
        """Returns metrics of the model on held-out data, floats by name."""
        raise NotImplementedError(
            f"The task {self.task_name} has no evaluation."
        )

    def sample(self, model, number, seed=0, progress=False):
        """Returns `number` samples, an array or a list of strings."""
        raise NotImplementedError(
            f"The task {self.task_name} draws no samples."
        )

    def generate(self, model, texts, **options):
        """Returns the text that follows each of `texts`, a list of strings.

        A subclass that defines it lists the options of the command line in
        `generate_options`. All have the options `stream`, a function that is
        called with the new characters of each text, and `progress`.
        """
        self.check_generate_options(options)
        raise NotImplementedError(f"{type(self).__name__}.generate")

    def check_generate_options(self, options):
        """Rejects names that are not in `generate_options`.

        Raises:
            NotImplementedError: if the task generates no text.
            ValueError: if a name is unknown (the message suggests the nearest
                name).
        """
        known = self.generate_options
        if not known:
            raise NotImplementedError(
                f"The task {self.task_name} generates no text."
            )
        for name in options:
            if name not in known:
                raise ValueError(
                    f"The task {self.task_name} has no such option. Did you "
                    f"mean {nearest(name, known)}? Received: {name}"
                )

    def endpoints(self, model):
        """Returns functions to export with the model, by name.

        See `su_models.export.export_saved_model`.
        """
        return {}


def cosine_decay(task, warmup_steps, alpha):
    """Returns a schedule with a linear warmup and a cosine decay.

    Args:
        task: a `Task`.
        warmup_steps: int. Steps of the linear rise from 0.
        alpha: float. The last rate divided by the highest.
    """
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        task.steps - warmup_steps,
        alpha=alpha,
        warmup_target=task.learning_rate,
        warmup_steps=warmup_steps,
    )


def parsed(value):
    """Returns the JSON value of a string, or else the string itself.

    Another value is returned as it is.
    """
    if not isinstance(value, str):
        return value
    for read in (json.loads, float):  # `float` also reads .5 and 1e-3
        try:
            return read(value)
        except ValueError:
            pass
    return value
