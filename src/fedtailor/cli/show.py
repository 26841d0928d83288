"""fedtailor show: the tables of one run, or of a sweep."""

from pathlib import Path
from typing import Annotated

import typer

from .console import out, print_json

SWEEP = "sweep.json"  # a folder that has one is a sweep's; the name again, as all else of sweeps is slow to load


def show(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or of a sweep.", metavar="RUN")],
    samples: Annotated[int, typer.Option(help="Generated texts to show, before and after.", min=0)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json alone.")] = False,
) -> None:
    """Show what a run made: how good, for whom, at what cost; or the table of a sweep."""
    if (run / SWEEP).is_file():
        from ..studies.sweep import read_sweep
        from .sweep import show_swept

        swept, metric = read_sweep(run)
        show_swept(swept, metric=metric, as_json=as_json)
        return
    from ..report import read_run
    from ..report import show as tables

    found = read_run(run)
    if as_json:
        print_json(found.summary)
        return
    out().print(tables(found, samples=samples))
