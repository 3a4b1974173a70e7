"""`su-models train | sample | export`: a diffusion from data to SavedModel."""

import dataclasses
import pathlib
from typing import Annotated

import typer

from su_models.cli.catalog import Unknown
from su_models.cli.startup import load_library
from su_models.utils.nearest import nearest

TRAIN_EXAMPLES = """Examples:

su-models train ddpm-digits                    to runs/ddpm-digits, minutes

su-models train ddpm-digits --seed 1 --output runs/second

su-models train ddpm-mnist --steps 400         a quick look
"""
SAMPLE_EXAMPLES = """Examples:

su-models sample runs/ddpm-digits --seed 3

su-models sample runs/ddpm-digits --number 1000 --output digits.npy
"""
EXPORT_EXAMPLES = """Examples:

su-models export runs/ddpm-digits

python -c "import tensorflow as tf; m = tf.saved_model.load(
'runs/ddpm-digits/saved_model'); print(m.sample(3, 10).shape)"
"""

Run = Annotated[
    pathlib.Path,
    typer.Argument(metavar="RUN", help="The folder of a run."),
]


def train(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="What to train: ddpm-digits, ddpm-mnist."
        ),
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/NAME"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps, if not the usual number.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
):
    """Train a diffusion on a real data set.

    A training that was interrupted, however hard, goes on where it was when
    the same command is given again, and ends with the same weights. One that
    is done is not repeated. The folder then holds config.json, history.csv,
    training.png, samples.png and model.keras.
    """
    load_library()
    from su_models.tasks import image_diffusion

    runs = image_diffusion.RUNS
    if name not in runs:
        guess = nearest(name, sorted(runs))
        raise Unknown(f"unknown run `{name}`. Did you mean {guess}?")
    config = dataclasses.replace(runs[name], seed=seed)
    if steps is not None:
        longest = min(steps, config.steps_per_epoch)
        fitting = (n for n in range(longest, 0, -1) if steps % n == 0)
        config = dataclasses.replace(
            config, steps=steps, steps_per_epoch=next(fitting, 1)
        )
    folder = output or pathlib.Path("runs") / name
    try:
        network = config.train(folder)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command goes on from here.")
        raise typer.Exit(130) from None
    image_diffusion.draw_training(folder)
    config.draw(network, folder / "samples.png")
    for file in sorted(folder.iterdir()):
        typer.echo(file)


def sample(
    run: Run,
    number: Annotated[int, typer.Option(help="Images to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="Same seed, same images.")] = 0,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="A .png picture, or a .npy array of floats in -1 ... 1.",
            show_default="RUN/samples-SEED.png",
        ),
    ] = None,
):
    """Draw images from a trained diffusion."""
    load_library()
    import numpy as np

    from su_models.tasks import image_diffusion
    from su_models.utils.files import replacing
    from su_models.utils.picture import image_grid

    config = image_diffusion.read_config(run)
    network = image_diffusion.load_network(run)
    output = output or run / f"samples-{seed}.png"
    if output.suffix not in (".png", ".npy"):
        raise ValueError(
            f"`--output` must end in .png or .npy. Received: {output}"
        )
    if not output.parent.is_dir():
        raise ValueError(
            f"The folder of `--output` must exist. Received: {output}"
        )
    images = config.sampler.sample(
        network, number, seed, batch_size=100, progress=True
    )
    if output.suffix == ".npy":
        with replacing(output) as new:
            np.save(new, images)
    else:
        columns = int(np.ceil(np.sqrt(number)))
        missing = -number % columns
        white = np.ones((missing, *images.shape[1:]), "float32")
        grid = image_grid(np.concatenate([images, white]), columns)
        image_diffusion.save_picture(grid, output)
    typer.echo(output)


def export(
    run: Run,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Where to.", show_default="RUN/saved_model"),
    ] = None,
):
    """Export a trained diffusion as a SavedModel that draws by itself.

    It needs TensorFlow alone. Its endpoints: sample(seed, num_samples) gives
    float images, draw(seed) a picture of samples beside real images,
    serve(image, step) the predicted noise.
    """
    load_library()
    from su_models.export import export_saved_model
    from su_models.tasks import image_diffusion

    config = image_diffusion.read_config(run)
    network = image_diffusion.load_network(run)
    output = output or run / "saved_model"
    export_saved_model(network, output, endpoints=config.endpoints(network))
    typer.echo(output)
