"""fedtailor export: the result in a format that other tools read."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .console import err, say
from .waiting import waiting


class Format(StrEnum):
    """What to write."""

    merged = "merged"
    peft = "peft"
    adapter = "adapter"
    pooled = "pooled"
    prompt = "prompt"


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    folder: Annotated[Path, typer.Argument(help="Where to write it; absent or empty.", metavar="FOLDER")],
    to: Annotated[
        Format | None,
        typer.Option(
            help="merged: one whole model for transformers. peft: the adapter alone. With a line of fedtailor's beside: adapter, a bottleneck adapter; "
            "pooled or adapter, where the head reads the mean. prompt: the text that a search found. Left out: prompt where one was searched, else merged."
        ),
    ] = None,
) -> None:
    """Write the result for other tools, with a model card."""
    from ..export import export as write
    from ..report import read_run
    from ..run_files import shared_part

    found = read_run(run)
    with waiting(err(), f"writing {folder}"):
        place = write(run, to=None if to is None else to.value, folder=folder)
    say("wrote [bold]{place}[/]  [dim]its README.md is the model card[/]", place=place)
    if part := shared_part(found.summary, found.trained):
        say("[yellow]{part}[/]", part=part)
