"""fedtailor report: one run as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import note, out, say

if TYPE_CHECKING:
    from ..report import Run


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    file: Annotated[
        Path | None, typer.Option("--out", help="The file to write; left out: report.html in the run's folder.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a run as one HTML file that needs no network: charts, tables, samples, and what left each client."""
    from ..report import read_run
    from ..report.page import write_page

    place = write_page(read_run(run), file)
    out().print(str(place), soft_wrap=True, markup=False, highlight=False)
    if show:
        import webbrowser

        webbrowser.open(place.resolve().as_uri())


def leave_report(run: "Run") -> None:
    """Write the page of a run that has just ended and say where it is; a run without one is no fault."""
    from ..errors import FedtailorError
    from ..report.page import write_page

    try:
        say("  [dim]report[/]  {place}\n", place=write_page(run))
    except FedtailorError as error:
        note(f"there is no report of this run: {error}")
