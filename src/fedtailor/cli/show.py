"""fedtailor show: the tables of one run."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import out


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
        sys.stdout.write(json.dumps(found.summary, indent=2, ensure_ascii=False) + "\n")
        return
    out().print(tables(found, samples=samples))
