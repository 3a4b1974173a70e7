"""Image generation by diffusion: from a named data set to a run folder."""

import dataclasses
import json
import pathlib
import time
import zipfile

import keras
import numpy as np
from keras import ops
from matplotlib import image as image_files
from matplotlib.figure import Figure

from su_models.backend.compile import has_xla
from su_models.data.registry import REGISTRY, load, names
from su_models.models.ddpm import build_ddpm, build_ddpm_trainer
from su_models.ops.noise_schedule import NoiseSchedule
from su_models.optimizers.lookahead import Lookahead
from su_models.sampling.ddim import DDIM
from su_models.tasks.backup import Backup
from su_models.tasks.minibatches import Minibatches
from su_models.tasks.progress import TrainingBar
from su_models.utils.files import replacing
from su_models.utils.picture import image_grid


@dataclasses.dataclass(frozen=True)
class ImageDiffusion:
    """A DDPM on a data set of images, and how it is trained and sampled.

    Article: https://kexue.fm/archives/9152
        《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》
    Article: https://kexue.fm/archives/9181
        《生成扩散模型漫谈（四）：DDIM = 高观点DDPM》

    A run lives in a folder: `config.json`, these settings; `history.csv`,
    the loss; `backup.weights.h5` while it trains; `model.keras`, the network
    with averaged weights, when it is done.

    Args:
        preset: preset of `su_models.models.build_ddpm`.
        blocks: optional int. Residual blocks, if not the preset's.
        data: name of the data set; its training images are used.
        steps: int. Steps of training.
        batch_size: int. Images in a step.
        steps_per_epoch: int. Steps between two backups; divides `steps`.
        learning_rate: float. Highest rate: linear warm-up over the first
            tenth of `steps` (at most 500), then a cosine down to 2 %.
        ema_momentum: float in [0, 1). Momentum of the averaged weights.
        sync_period, slow_step_size: of `su_models.optimizers.Lookahead`.
        dropout: float in [0, 1). Of the network.
        jit_compile: bool. Compiles the step of training by XLA, where the
            backend has it. On a CPU convolutions are faster without.
        num_steps: int. T of the diffusion.
        stride, eta, spacing: of `su_models.sampling.DDIM`.
        seed: int. Of weights, order, steps and noise.
    """

    preset: str = "digits"
    blocks: int | None = None
    data: str = "digits"
    steps: int = 8000
    batch_size: int = 128
    steps_per_epoch: int = 200
    learning_rate: float = 2e-3
    ema_momentum: float = 0.999
    sync_period: int = 5
    slow_step_size: float = 0.5
    dropout: float = 0.0
    jit_compile: bool = True
    num_steps: int = 1000
    stride: int = 20
    eta: float = 0.0
    spacing: str = "trailing"
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "steps_per_epoch", "num_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                self._refuse(f"`{name}` must be a positive integer.", name)
        if self.steps % self.steps_per_epoch:
            self._refuse(
                "`steps_per_epoch` must divide `steps`.",
                "steps",
                "steps_per_epoch",
            )
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            self._refuse("`seed` must be an integer in [0, 2**31).", "seed")
        if not 0 < self.learning_rate < np.inf:
            self._refuse("`learning_rate` must be positive.", "learning_rate")
        if not 0 <= self.ema_momentum < 1:
            self._refuse("`ema_momentum` must be in [0, 1).", "ema_momentum")
        if self.data not in names():
            self._refuse(f"`data` must be one of {names()}.", "data")
        _ = self.sampler  # refuses what it does not take

    def _refuse(self, problem, *fields):
        received = ", ".join(f"{f}={getattr(self, f)!r}" for f in fields)
        raise ValueError(f"{problem} Received: {received}")

    @property
    def schedule(self):
        """The author's `NoiseSchedule`."""
        return NoiseSchedule.author(self.num_steps)

    @property
    def sampler(self):
        """The `DDIM` sampler."""
        return DDIM(self.schedule, self.stride, self.eta, self.spacing)

    def images(self, split="train"):
        """Returns the images of a split, float32, scaled to -1 ... 1."""
        images = load(self.data)[split]["x"]
        return scaled(images, REGISTRY[self.data].white)

    def train(self, folder, images=None, progress=True):
        """Trains, going on where an interrupted call with this folder was.

        Seeds Keras, NumPy and Python (`keras.utils.set_random_seed`).

        Args:
            folder: run folder; made if it is not there.
            images: optional floats `(n, height, width, channels)` to train
                on instead of the training images of the data set.
            progress: bool. Shows a progress bar.

        Returns:
            The network, a `keras.Model`, with averaged weights. A run that
            is done is loaded, not trained again.

        Raises:
            ValueError: if the folder holds another run, or the images do not
                fit the network, are not finite or not scaled.
            OSError: if the folder cannot be written.
                Both before training.
            FloatingPointError: if the loss is no longer finite.
        """
        folder = pathlib.Path(folder)
        if (folder / "model.keras").exists():
            self._check_settings(folder)
            return load_network(folder)
        images = self.images() if images is None else np.asarray(images)
        keras.utils.set_random_seed(self.seed)
        network = self._network()
        _check_images(images, network.input_shape[0][1:])
        self._claim(folder)
        self._fit(network, images, folder, progress)
        with replacing(folder / "model.keras") as new:
            network.save(new)
        (folder / "backup.weights.h5").unlink(missing_ok=True)
        return network

    def endpoints(self, network, columns=10, batch_size=100):
        """Functions to export beside a network, by name.

        Args:
            network: what `train` returned.
            columns: int. Rows and columns of the pictures.
            batch_size: int. Images that are drawn at once.

        Returns:
            A dict: `"sample"`, `(seed, num_samples)` → float32 images, and
            `"draw"`, `(seed,)` → a uint8 picture of samples on the left and
            of real images on the right. Seeds and numbers are int32 scalars.
        """
        sample = self.sampler.endpoint(network, batch_size)
        real = self.images()[: columns**2]

        def draw(seed):
            made = ops.reshape(sample(seed, columns**2), real.shape)
            return side_by_side(made, real, columns)

        draw.input_signature = sample.input_signature[:1]
        return {"sample": sample, "draw": draw}

    def draw(self, network, path, seed=0, columns=10, batch_size=100):
        """Saves the picture that the endpoint `"draw"` gives, as PNG.

        Args:
            network: what `train` returned.
            path: file to write.
            seed: int from 0 to 2³¹ - 1.
            columns, batch_size: as for `endpoints`.
        """
        made = self.sampler.sample(network, columns**2, seed, batch_size)
        picture = side_by_side(made, self.images()[: columns**2], columns)
        save_picture(picture, path)

    def _check_settings(self, folder):
        if (folder / "config.json").exists() and read_config(folder) != self:
            raise ValueError(
                "The folder holds a run with other settings; delete it or "
                f"choose another. Received: folder={folder}"
            )

    def _claim(self, folder):
        """Makes the folder this run's, or says why it cannot be."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "history.csv").exists():  # else nothing has begun
            self._check_settings(folder)
        with replacing(folder / "config.json") as new:
            config = json.dumps(dataclasses.asdict(self), indent=2)
            new.write_text(config + "\n", "utf-8")

    def _network(self):
        return build_ddpm(
            self.preset,
            blocks=self.blocks,
            num_steps=self.num_steps,
            dropout=self.dropout,
        )

    def _fit(self, network, images, folder, progress):
        trainer = build_ddpm_trainer(network, self.schedule, seed=self.seed)
        trainer.compile(
            self._optimizer(), jit_compile=self.jit_compile and has_xla()
        )
        backup = Backup(folder / "backup.weights.h5")
        epoch = backup.restore(trainer)
        batches = Minibatches(
            images, self.batch_size, self.steps_per_epoch, self.seed
        )
        bar = TrainingBar(self.steps, epoch * self.steps_per_epoch, progress)
        callbacks = [
            batches.follow,
            keras.callbacks.TerminateOnNaN(),
            _loss_log(folder / "history.csv", backup, fresh=epoch == 0),
            bar,
            backup,
        ]
        with bar:
            trainer.fit(
                batches,
                epochs=self.steps // self.steps_per_epoch,
                initial_epoch=epoch,
                callbacks=callbacks,
                shuffle=False,  # `batches` are; Keras would by a global seed
                verbose=0,
            )
        values = (ops.convert_to_numpy(w) for w in network.weights)
        if trainer.stop_training or not all(
            np.isfinite(value).all() for value in values
        ):
            raise FloatingPointError(
                "The loss became NaN or infinite; no network was saved. "
                "Delete the folder and try a lower learning rate. "
                f"Received: learning_rate={self.learning_rate}"
            )

    def _optimizer(self):
        warmup = min(500, self.steps // 10)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            self.steps - warmup,
            alpha=0.02,
            warmup_target=self.learning_rate,
            warmup_steps=warmup,
        )
        adam = keras.optimizers.Adam(
            rate, use_ema=True, ema_momentum=self.ema_momentum
        )
        return Lookahead(adam, self.sync_period, self.slow_step_size)


RUNS = {
    "ddpm-digits": ImageDiffusion(),
    "ddpm-mnist": ImageDiffusion(
        preset="mnist",
        data="mnist",
        steps=5000,
        batch_size=64,
        steps_per_epoch=100,
        jit_compile=False,
        eta=1.0,  # the judge is sure of a little more than with 0
    ),
}


def _loss_log(path, backup, fresh):
    """Returns a callback that appends the loss of each epoch, and closes."""
    if fresh:
        path.write_text("epoch,loss,seconds\n", "utf-8")

    def append(epoch, logs):
        seconds = time.monotonic() - backup.begun
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{epoch},{logs['loss']:.6g},{seconds:.3f}\n")

    return keras.callbacks.LambdaCallback(on_epoch_end=append)


def _check_images(images, shape):
    """Refuses what cannot be trained on, before anything is written."""
    if images.ndim != 4 or not len(images) or images.shape[1:] != shape:
        raise ValueError(
            f"The images must be (n, {', '.join(map(str, shape))}), at least "
            f"one. Received: shape={images.shape}"
        )
    bad = images.size - np.isfinite(images).sum()
    if bad:
        raise ValueError(
            "The images must be finite. Received: "
            f"{bad} of {images.size} entries are NaN or infinite"
        )
    if images.dtype.kind != "f" or np.abs(images).max() > 1.5:
        raise ValueError(
            "The images must be floats scaled to -1 ... 1. Received: "
            f"dtype={images.dtype}, largest={np.abs(images).max()}"
        )


def scaled(images, white=255):
    """Maps the integers 0 ... white of an image set to -1 ... 1."""
    return (images / (white / 2) - 1).astype("float32")


def side_by_side(made, real, columns):
    """Returns two grids in one picture, `made` left and `real` right."""
    left, right = (image_grid(images, columns) for images in (made, real))
    space = ops.full((left.shape[0], 16, left.shape[2]), 255, "uint8")
    return ops.concatenate([left, space, right], axis=1)


def save_picture(picture, path):
    """Writes a uint8 picture, grey or RGB, as PNG without loss."""
    pixels = ops.convert_to_numpy(picture)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    with replacing(path) as new:
        image_files.imsave(new, pixels, format="png")


def history(folder):
    """Returns epoch, loss and seconds of a run's epochs, arrays."""
    path = pathlib.Path(folder) / "history.csv"
    rows = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
    # an epoch that was cut off after it was logged stands there twice
    _, last = np.unique(rows["epoch"][::-1], return_index=True)
    rows = rows[::-1][last]
    return rows["epoch"], rows["loss"], rows["seconds"]


def draw_training(folder):
    """Draws `training.png`, the loss of each epoch, from `history.csv`."""
    folder = pathlib.Path(folder)
    epochs, losses, _ = history(folder)
    steps = read_config(folder).steps_per_epoch * (epochs + 1)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, marker=".")
    axes.set(
        xlabel="step",
        ylabel="loss: ‖ε - ε_θ‖², summed over an image",
        yscale="log",
        title=f"Training of {folder.name}",
    )
    axes.grid(alpha=0.3, which="both")
    with replacing(folder / "training.png") as new:
        figure.savefig(new, format="png", dpi=110)


def read_config(folder):
    """Returns the `ImageDiffusion` of a run folder.

    Raises:
        ValueError: if the folder is no run, or `config.json` is damaged.
    """
    path = pathlib.Path(folder) / "config.json"
    try:
        return ImageDiffusion(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise ValueError(
            "The folder is no run: it has no config.json. "
            f"Received: folder={folder}"
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The settings of the run cannot be read. Received: {path} "
            f"({error})"
        ) from error


def load_network(folder):
    """Returns the trained network of a run folder.

    Raises:
        ValueError: if it is not there or the file is damaged.
    """
    path = pathlib.Path(folder) / "model.keras"
    if not path.exists():
        raise ValueError(
            "The run has no trained network yet; train it first. "
            f"Received: {path}"
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            "The file is no Keras model or is damaged. "
            f"Received: {path} ({error})"
        ) from error
