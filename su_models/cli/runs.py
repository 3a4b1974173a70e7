"""The commands `su-models train | sample | evaluate | export`."""

import dataclasses
import io
import pathlib
from typing import Annotated

import typer

from su_models.cli.catalog import Unknown
from su_models.cli.startup import load_library
from su_models.utils.files import write_bytes
from su_models.utils.nearest import nearest

TRAIN_EXAMPLES = """Examples:

su-models train ddpm-digits                    to runs/ddpm-digits, minutes

su-models train vae-digits --seed 1 --output runs/second

su-models train ddpm-mnist --steps 400         a quick look

su-models train vae-digits --set latent_dim=4 --set stddev=0.5

su-models train runs/second                    go on, with its settings
"""
SAMPLE_EXAMPLES = """Examples:

su-models sample ddpm-digits --seed 3

su-models sample runs/second --number 1000 --output digits.npy
"""
EVALUATE_EXAMPLES = """Examples:

su-models evaluate vae-digits
"""
EXPORT_EXAMPLES = """Examples:

su-models export ddpm-digits

python -c "import tensorflow as tf; m = tf.saved_model.load(
'runs/ddpm-digits/saved_model'); print(m.sample(3, 10).shape)"
"""

Run = Annotated[
    str,
    typer.Argument(
        metavar="NAME_OR_RUN",
        help="A name, for the run in runs/NAME, or the folder of a run.",
    ),
]


def train(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_RUN",
            help="The run to train, such as ddpm-digits or vae-digits; or "
            "the folder of a run, to use its settings.",
        ),
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/NAME"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Number of steps, if not the default.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all random numbers.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SETTING=VALUE",
            help="Another setting of the task; may be given several times.",
        ),
    ] = None,
):
    """Train a model on real data.

    The same command resumes an interrupted training, even a killed one, and
    ends with the same weights. A finished training is not repeated. The
    folder then holds config.json, history.csv, training.png, pictures that
    illustrate the model, and model.keras.
    """
    load_library()
    from su_models.runs import draw_run

    task, folder = _task_to_train(name)
    task = task.with_settings(dict(pair(change) for change in changes or ()))
    if steps is not None:
        task = task.with_steps(steps)
    if seed is not None:
        task = dataclasses.replace(task, seed=seed)
    folder = output or folder
    try:
        model = task.train(folder)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command resumes the training.")
        raise typer.Exit(130) from None
    draw_run(task, model, folder)
    for file in sorted(folder.iterdir()):
        if not file.name.startswith("."):
            typer.echo(file)


def sample(
    run: Run,
    number: Annotated[int, typer.Option(help="How many to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="Same seed, same samples.")] = 0,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="For images: a .png picture, or a .npy array of floats in "
            "-1 ... 1. For text: .txt, with one sample per line.",
            show_default="RUN/samples-SEED.png",
        ),
    ] = None,
):
    """Draw samples from a trained model."""
    load_library()
    from su_models.runs import RunFolder

    task, folder = task_of_run(run)
    endings = task.sample_endings
    if output is not None and endings and output.suffix not in endings:
        raise ValueError(
            f"`--output` must end in {' or '.join(endings)}. Received: {output}"
        )
    check_output(output)
    model = RunFolder(folder).load_model()
    samples = task.sample(model, number, seed, progress=True)
    if output is None:
        name = f"samples-{seed}{endings[0]}"
        RunFolder(folder).write(name, _content(samples, endings[0]))
        output = folder / name
    else:
        write_bytes(output, _content(samples, output.suffix))
    typer.echo(output)


def evaluate(run: Run):
    """Evaluate a trained model on held-out data.

    Prints the metrics and writes them to metrics.json in the folder.
    """
    load_library()
    from su_models.runs import RunFolder, evaluate_run

    task, folder = task_of_run(run)
    model = RunFolder(folder).load_model()
    figures = evaluate_run(task, model, folder)
    width = max(map(len, figures), default=0)
    for name, value in figures.items():
        typer.echo(f"{name:{width}}  {value:.6g}")
    typer.echo(folder / "metrics.json")


def export(
    run: Run,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Output folder.", show_default="RUN/saved_model"),
    ] = None,
):
    """Export a trained model as a SavedModel.

    The artifact needs only TensorFlow. In addition to serve(...), the model
    itself, it has the functions of the task; a task that generates images has
    sample(seed, num_samples), which returns float images, and draw(seed),
    which returns a picture of samples and real images; a task that writes
    text has generate(token_ids, segment_ids, beam_size, max_new_tokens),
    encode(code_points) and decode(ids).
    """
    load_library()
    from su_models.export import export_saved_model
    from su_models.runs import RunFolder

    task, folder = task_of_run(run)
    model = RunFolder(folder).load_model()
    output = output or folder / "saved_model"
    export_saved_model(model, output, endpoints=task.endpoints(model))
    typer.echo(output)


def _task_to_train(name):
    """Returns the task of a name or of a run's folder, and a folder."""
    from su_models.tasks import find_task, load_task, task_names

    if name in task_names():
        return find_task(name), pathlib.Path("runs", name)
    if pathlib.Path(name, "config.json").exists():
        return load_task(name), pathlib.Path(name)
    guess = nearest(name, task_names())
    raise Unknown(
        f"unknown run `{name}`. Did you mean {guess}? There are "
        f"{', '.join(task_names())}."
    )


def task_of_run(name):
    """Returns the task and the folder of a run, by its folder or name."""
    from su_models.tasks import load_task, task_names

    folder = pathlib.Path(name)
    if not (folder / "config.json").exists():
        if name in task_names():
            folder = pathlib.Path("runs", name)
        elif not folder.is_dir():
            raise ValueError(
                "The folder is not a run: it has no config.json. "
                f"Received: {name}, which is not a name either; did you mean "
                f"{nearest(name, task_names())}?"
            )
    return load_task(folder), folder


def check_output(path):
    """Rejects an output file in a folder that does not exist."""
    if path is not None and not path.parent.is_dir():
        raise ValueError(
            f"The folder of `--output` must exist. Received: {path}"
        )


def pair(change):
    """Returns name and value of `--set name=value`."""
    name, equals, value = change.partition("=")
    if not equals:
        raise ValueError(
            f"`--set` must be given SETTING=VALUE. Received: {change}"
        )
    return name.strip(), value.strip()


def _content(samples, ending):
    """Returns the bytes of a file with samples."""
    import numpy as np

    from su_models.utils.picture import filled_grid, png

    if ending == ".png":
        return png(filled_grid(samples))
    if ending == ".txt":
        return "".join(f"{line}\n" for line in samples).encode()
    file = io.BytesIO()
    np.save(file, samples, allow_pickle=False)
    return file.getvalue()
