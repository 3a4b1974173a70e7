r"""The command `su-models`.

A command is a function whose docstring is its help. It is in a module of this
folder that imports neither Keras nor a room at its top (`--help` must answer
at once; `startup.load_library` imports them), and is added below by
`app.command()(function)`. It raises `ValueError`, `OSError` or `ImportError`
(of an extra) for errors that the user can fix, which become one line on stderr
and exit code 1.
"""

import dataclasses
import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from su_models.cli import catalog, checkpoints, generation, runs
from su_models.cli.startup import without_startup_lines
from su_models.utils.nearest import nearest

EXAMPLES = """Examples:

su-models list                    every public name, room by room

su-models list --room layers      only the layers

su-models info 8265               what implements kexue.fm/archives/8265?

su-models info RotaryEmbedding    where are its article, code and tests?

su-models train ddpm-digits       a diffusion that draws digits, in minutes

su-models sample ddpm-digits

su-models evaluate ddpm-digits

su-models export ddpm-digits

su-models generate poem-unilm 春晓  a quatrain with this title

su-models convert chinese_L-12_H-768_A-12/bert_model.ckpt bert.safetensors

su-models info --help             more about one command
"""

INFO_EXAMPLES = """Examples:

su-models info 8265

su-models info https://kexue.fm/archives/8265

su-models info https://arxiv.org/abs/2104.09864

su-models info RotaryEmbedding
"""


class _Group(TyperGroup):
    """Prints errors that the user can fix as one line on stderr."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `su-models list | head`
            raise
        except (
            ValueError,
            OSError,
            NotImplementedError,
            ImportError,
            FloatingPointError,
        ) as error:
            if ctx.params.get("traceback"):
                raise
            line = " ".join(str(error).split())
            typer.echo(f"su-models: {line}", err=True)
            code = 2 if isinstance(error, catalog.Unknown) else 1
            raise typer.Exit(code) from error


app = typer.Typer(
    cls=_Group,
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted):
    """Prints the version and exits, if requested."""
    if wanted:
        typer.echo(f"su-models {catalog.version()}")
        raise typer.Exit()


@app.callback()
def _options(
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback",
            help="Show where an error comes from, for a bug report.",
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
):
    """The models of 苏剑林's blog 科学空间 (kexue.fm) in Keras 3.

    From an article to its code, and from the code to a trained model.
    """


@app.command("list")
def list_names(
    room: Annotated[
        str | None,
        typer.Option(help="Only this room: layers, optimizers, models ..."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for programs.")
    ] = False,
):
    """List every public name with its articles and a one-line summary.

    A name of the room `layers` is imported as
    `from su_models.layers import Name`.
    """
    if room is not None and room not in catalog.rooms():
        guess = nearest(room, catalog.rooms())
        raise catalog.Unknown(f"unknown room `{room}`. Did you mean {guess}?")
    chosen = [e for e in catalog.entries() if room in (None, e.room)]
    if as_json:
        _print_json([_as_dict(entry) for entry in chosen])
    else:
        _print_table(chosen)


@app.command(epilog=INFO_EXAMPLES)
def info(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ARTICLE_OR_NAME",
            help="An article's number or address, or a public name.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for programs.")
    ] = False,
):
    """Show the article, code, signature, tests and examples of an idea.

    The argument is the number of an article, its address or section, the
    address of a paper, or a public name. Tests and examples are shown if the
    library runs from its checkout. For an unknown name, the command suggests
    the nearest one and exits with code 2.
    """
    found = catalog.find(what)
    with without_startup_lines():  # a signature may have to be imported
        details = [_details(entry) for entry in found]
    if as_json:
        _print_json(details)
    else:
        for number, detail in enumerate(details):
            _print_details(detail, blank=number > 0)


app.command(epilog=runs.TRAIN_EXAMPLES)(runs.train)
app.command(epilog=runs.SAMPLE_EXAMPLES)(runs.sample)
app.command(epilog=generation.GENERATE_EXAMPLES)(generation.generate)
app.command(epilog=runs.EVALUATE_EXAMPLES)(runs.evaluate)
app.command(epilog=runs.EXPORT_EXAMPLES)(runs.export)
app.command(epilog=checkpoints.CONVERT_EXAMPLES)(checkpoints.convert)


def main():
    """Runs the command line."""
    for stream in (sys.stdout, sys.stderr):
        # a terminal without Chinese shows \u4e2d instead of an error
        stream.reconfigure(errors="backslashreplace")
    app(prog_name="su-models")


def _as_dict(entry):
    """Returns an entry as a dict for JSON."""
    fields = dataclasses.asdict(entry)
    del fields["docstring"], fields["signature"]
    articles = [
        {"number": n, "title": title, "url": f"{catalog.ARTICLE}{n}"}
        for n, title in entry.articles.items()
    ]
    return {
        **fields,
        "summary": entry.summary,
        "articles": articles,
        "papers": entry.papers,
    }


def _details(entry):
    """Returns an entry as a dict for `info`."""
    return {
        **_as_dict(entry),
        "signature": entry.name + catalog.signature(entry),
        "tests": catalog.places(entry, "tests"),
        "examples": catalog.places(entry, "examples"),
    }


def _console():
    """Returns a console that does not wrap piped output."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1000
    return console


def _print_json(value):
    """Prints a value as JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_table(entries):
    """Prints entries, one line each, under the names of their rooms."""
    console = _console()
    rows = [
        (entry.name, _few(entry.articles), entry.summary) for entry in entries
    ]
    # the same widths for all rooms, so that the columns are aligned
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for room in dict.fromkeys(entry.room for entry in entries):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(min_width=widths[0], no_wrap=True)
        grid.add_column(min_width=widths[1], no_wrap=True)
        grid.add_column()
        for entry, row in zip(entries, rows, strict=True):
            if entry.room == room:
                grid.add_row(*row)
        console.print(Text(room, "bold"))
        console.print(grid)


def _few(articles):
    """Returns the first two articles, and the number of others."""
    numbers = list(map(str, articles))
    more = f" +{len(numbers) - 2}" if len(numbers) > 2 else ""
    return ", ".join(numbers[:2]) + more or "-"


def _print_details(detail, blank):
    """Prints the details of one entry."""
    console = _console()
    if blank:
        console.print()
    console.print(Text(detail["name"], "bold"), f"({detail['kind']})")
    console.print(detail["summary"])
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for article in detail["articles"]:
        title = f"《{article['title']}》" if article["title"] else ""
        grid.add_row("  article", f"{article['url']} {title}")
    for paper in detail["papers"]:
        grid.add_row("  paper", paper)
    origin = f"from su_models.{detail['room']} import {detail['name']}"
    grid.add_row("  import", origin)
    grid.add_row("  signature", detail["signature"])
    grid.add_row("  code", f"{detail['module']}:{detail['line']}")
    for label in ("tests", "examples"):
        for path in detail[label]:
            grid.add_row(f"  {label}", path)
    console.print(grid)


if __name__ == "__main__":
    main()
