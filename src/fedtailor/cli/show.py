"""fedtailor show: the tables of one run."""

from pathlib import Path
from typing import Annotated

import typer

from .console import out, print_json


def show(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    samples: Annotated[int, typer.Option(help="Generated texts to show, before and after.", min=0)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json alone.")] = False,
) -> None:
    """Show what a run made: how good, for whom, at what cost."""
    from ..report import read_run
    from ..report import show as tables

    found = read_run(run)
    if as_json:
        print_json(found.summary)
        return
    out().print(tables(found, samples=samples))
