"""fedtailor report: one run as a page, or several side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import note, out, say
from .trimmed import collection_paused

if TYPE_CHECKING:
    from ..report import Run


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="The folder of a run; of several, of a sweep or of a recipe: their comparison.", metavar="RUN"),
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The file to write; left out: report.html in the folder, or comparison.html here for several."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a run as one HTML file that needs no network: charts, tables, samples, and what left each client; or several runs side by side."""
    with collection_paused():
        place = _page(runs, file)
    out().print(str(place), soft_wrap=True, markup=False, highlight=False)
    if show:
        import webbrowser

        webbrowser.open(place.resolve().as_uri())


def _page(runs: Sequence[Path], file: Path | None) -> Path:
    from ..report import read_run
    from ..report.compared import SWEEP, runs_in, write_comparison
    from ..report.page import write_page

    if len(runs) == 1 and not (runs[0] / SWEEP).is_file():
        return write_page(read_run(runs[0]), file)
    found, missing, metric = runs_in(runs)
    place = file or (runs[0] / "report.html" if len(runs) == 1 else Path("comparison.html"))
    return write_comparison(found, place, missing=missing, metric=metric)


def leave_report(run: "Run") -> None:
    """Write the page of a run that has just ended and say where it is; a run without one is no fault."""
    from ..errors import FedtailorError
    from ..report.page import write_page

    try:
        with collection_paused():
            place = write_page(run)
        say("  [dim]report[/]  {place}\n", place=place)
    except FedtailorError as error:
        note(f"there is no report of this run: {error}")
