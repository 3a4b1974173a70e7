"""The command `su-models generate`."""

import contextlib
import pathlib
import warnings
from typing import Annotated

import typer

from su_models.cli.runs import Run, check_output, pair, task_of_run
from su_models.cli.startup import load_library
from su_models.utils.files import write_bytes

GENERATE_EXAMPLES = """Examples:

su-models generate poem-unilm 春晓              a quatrain with this title

su-models generate poem-unilm 春晓 --seed 7 --set line_length=5

su-models generate poem-unilm 春晓 --beam-size 3

su-models generate poem-unilm --file titles.txt > poems.txt

su-models generate dialogue-answer "男：还下雨吗?|女：停了。|外面怎么了?"
"""


def generate(
    run: Run,
    text: Annotated[
        str | None,
        typer.Argument(help="The prompt, such as the title of a poem."),
    ] = None,
    file: Annotated[
        pathlib.Path | None,
        typer.Option(help="A file in UTF-8 with one prompt per line."),
    ] = None,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="A file to write to, one text per line.",
            show_default="standard output",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Same seed, same text.", show_default="0"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Sample from the most probable tokens, whose probabilities "
            "add up to p.",
            show_default="0.9, if the task samples",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Sample from the k most probable tokens."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Divides the logits.", show_default="1"),
    ] = None,
    beam_size: Annotated[
        int | None,
        typer.Option(help="Search with so many beams instead of sampling."),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="Length of a text, if the task has this option."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="Another option of the task; may be given several times.",
        ),
    ] = None,
):
    """Write text with a trained model.

    A single text appears token by token, as it is made, unless it is the
    result of a beam search. The texts for a file of prompts are printed at the
    end, one per line; a progress bar is shown on stderr.
    """
    texts = _prompts(text, file)
    check_output(output)
    load_library()
    from su_models.runs import RunFolder
    from su_models.tasks.base import parsed

    task, folder = task_of_run(run)
    options = {
        "seed": seed,
        "top_p": top_p,
        "top_k": top_k,
        "temperature": temperature,
        "beam_size": beam_size,
        "max_new_tokens": max_new_tokens,
    }
    options = {name: v for name, v in options.items() if v is not None}
    for change in changes or ():
        name, value = pair(change)
        if name in options:
            raise ValueError(f"An option is given twice. Received: {name}")
        options[name] = parsed(value)
    task.check_generate_options(options)
    model = RunFolder(folder).load_model()
    with _plain_warnings():
        if file is None and output is None and options.get("beam_size", 1) == 1:
            _stream(task, model, texts, options)
            return
        with _bar(len(texts), file is not None) as progress:
            made = task.generate(model, texts, progress=progress, **options)
    lines = "".join(" ".join(text.split("\n")) + "\n" for text in made)
    if output is None:
        typer.echo(lines, nl=False)
    else:
        write_bytes(output, lines.encode())
        typer.echo(output)


def _prompts(text, file):
    """Returns the prompts of the command, a list of strings."""
    if (text is None) == (file is None):
        raise ValueError(
            "Pass either a text or `--file`. Received: "
            f"text={text!r}, file={file and str(file)!r}"
        )
    if text is not None:
        if not text.strip():
            raise ValueError(f"The text is empty. Received: text={text!r}")
        return [text]
    try:
        lines = file.read_text("utf-8-sig").removesuffix("\n")
        texts = [line.rstrip("\r") for line in lines.split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`--file` must be text in UTF-8. Received: {file} ({error})"
        ) from error
    empty = [i for i, line in enumerate(texts, start=1) if not line.strip()]
    if empty:
        where = f"line {empty[0]} is empty" if lines else "it is empty"
        raise ValueError(
            f"`--file` must have a prompt in each line. Received: {file} "
            f"({where})"
        )
    return texts


def _stream(task, model, texts, options):
    """Prints a text while it is made."""
    begun = False

    def show(pieces):
        nonlocal begun
        begun = True
        typer.echo(pieces[0], nl=False)

    try:
        task.generate(model, texts, stream=show, **options)
    finally:
        if begun:
            typer.echo()


@contextlib.contextmanager
def _bar(total, visible):
    """Shows a bar on stderr; yields a function of the number of texts."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    progress = Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        disable=not visible,
    )
    with progress:
        task = progress.add_task("writing", total=total)
        yield lambda done, _: progress.update(task, completed=done)


@contextlib.contextmanager
def _plain_warnings():
    """Shows warnings for users as lines on stderr, without their origin."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: typer.echo(
            f"su-models: {message}", err=True
        )
        yield
