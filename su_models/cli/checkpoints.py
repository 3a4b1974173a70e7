"""`su-models convert`: weights of a transformer in another format."""

import pathlib
from typing import Annotated

import typer

from su_models.cli.startup import load_library

CONVERT_EXAMPLES = """Examples:

su-models convert chinese_L-12_H-768_A-12/bert_model.ckpt bert.safetensors

su-models convert roformer/bert_model.ckpt out.safetensors --family roformer

su-models convert stories260K.bin llama.safetensors

su-models convert huggingface/gpt2 gpt2/model.ckpt

su-models convert fine_tuned.keras bert/bert_model.ckpt
"""
_SHOWN = 5  # names of tensors that were left out


def convert(
    source: Annotated[
        pathlib.Path,
        typer.Argument(
            help="A checkpoint of TensorFlow 1 (its prefix), safetensors or "
            "llama2.c, a folder with one, or a .keras file of a transformer.",
        ),
    ],
    target: Annotated[
        pathlib.Path,
        typer.Argument(
            help="A file that ends in .safetensors, for transformers; else "
            "the prefix of a checkpoint of TensorFlow 1, for bert4keras.",
        ),
    ],
    family: Annotated[
        str | None,
        typer.Option(
            help="Whose names: bert, roberta, albert, nezha, roformer, gpt2, "
            "t5.1.1, llama ...",
            show_default="as the names tell",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="tf1 or safetensors.",
            show_default="as the ending of TARGET tells",
        ),
    ] = None,
    head_dim: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Features of a head, for LLaMA.",
            show_default="as the checkpoint or its config.json tells",
        ),
    ] = None,
):
    """Write the weights of a transformer as a checkpoint of another kind.

    The format of SOURCE is told by its content. Slots of optimizers are left
    out. A checkpoint at TARGET is replaced once the new one is whole.
    """
    load_library()
    if source.suffix == ".keras":
        from keras.saving import load_model

        from su_models.checkpoints import save_checkpoint

        save_checkpoint(load_model(source), target, family, format=to)
        typer.echo(f"{target}: all weights of {source}")
        return
    from su_models.checkpoints import convert_checkpoint

    number, unused = convert_checkpoint(source, target, family, to, head_dim)
    typer.echo(f"{target}: {number} tensors")
    if unused:
        shown = ", ".join(unused[:_SHOWN])
        more = " ..." if len(unused) > _SHOWN else ""
        typer.echo(f"left out: {len(unused)} tensors: {shown}{more}")
