"""fedtailor sweep: one job over a grid of settings."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import complain, err, note, out, print_json
from .run import Baseline, JobFile

if TYPE_CHECKING:
    from ..studies.grid import Axis, Cell
    from ..studies.sweep import Swept


def sweep(  # noqa: PLR0917 - Typer passes all by name
    job: JobFile,
    settings: Annotated[
        list[str],
        typer.Argument(help="Settings with their values: tuning.rank=2,4,8 seed=0,1,2", metavar="KEY=VALUE,VALUE..."),
    ],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="The folder of the sweep; left out: runs/sweep-NAME.", metavar="FOLDER")
    ] = None,
    baseline: Annotated[
        list[Baseline] | None, typer.Option(help="Also run this baseline of every cell; may be given more than once.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="The figure that is plotted: loss, bleu, perplexity_client_worst, up_bytes...")
    ] = "loss",
    target: Annotated[
        str | None,
        typer.Option(
            help="Also show rounds, bytes and seconds until a figure was reached, such as loss=1.85.", metavar="METRIC=NUMBER"
        ),
    ] = None,
    plot: Annotated[bool, typer.Option(help="Draw sweep.png and sweep.svg.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON alone.")] = False,
) -> None:
    """Run a job with every combination of some settings' values; the same command again continues with what is missing."""
    from ..metrics.course import read_target
    from ..report.plots.plot import check_plots
    from ..studies.grid import make_grid
    from ..studies.sweep import run_sweep

    if plot:
        check_plots()
    axes, cells = make_grid(job, settings, [kind.value for kind in baseline or ()])
    _check_metric(metric, cells)
    aim = None if target is None else read_target(target)
    folder = out_folder or Path("runs") / f"sweep-{cells[0].job.name}"
    try:
        swept = run_sweep(axes, cells, folder, watching=None if as_json else watching, metric=metric, target=aim)
    except KeyboardInterrupt:
        complain(f"stopped; the same command continues with what is missing in {folder}")
        raise typer.Exit(1) from None
    drawn = _write_means(swept, metric=metric, plot=plot)
    show_swept(swept, metric=metric, as_json=as_json)
    if plot and not drawn and not as_json:
        why = "only the seed was swept" if _first_swept(swept.axes)[0] == "seed" else f"no cell has the metric {metric}"
        note(f"there is no plot: {why}")
    if swept.failed:
        raise typer.Exit(1)


def _write_means(swept: "Swept", *, metric: str, plot: bool) -> list[Path]:
    """Write the means over seeds and the plot; return the files of the plot."""
    from ..report.plots.plot import plot_sweep
    from ..storage import write_text
    from ..studies.sweep_figures import spread

    means = spread(swept.table, swept.axes)
    write_text(swept.folder / "means.csv", means.to_csv(index=False))
    along, others = _first_swept(swept.axes)
    if not plot or along == "seed":
        return []
    return plot_sweep(means, along=along, others=others, metric=metric, folder=swept.folder)


def show_swept(swept: "Swept", *, metric: str, as_json: bool) -> None:
    """Print the table of a sweep, or its cells and means as JSON."""
    from ..report.several.sweep import show_sweep
    from ..studies.sweep_figures import directions_in, spread

    means = spread(swept.table, swept.axes)
    if as_json:
        result = {"folder": str(swept.folder), "failed": swept.failed, "cells": rows_of(swept.table), "means": rows_of(means)}
        print_json(result)
        return
    shown = [axis.name for axis in swept.axes if axis.name != "seed" and len(axis.values) > 1]
    own = directions_in(swept.table, swept.folder)
    out().print(show_sweep(swept.table, means, settings=shown, metric=metric, folder=str(swept.folder), own=own))


def _first_swept(axes: "Sequence[Axis]") -> tuple[str, list[str]]:
    """Return the first setting with several values, seed aside, and the columns that part the lines."""
    swept = [axis.name for axis in axes if axis.name != "seed" and len(axis.values) > 1]
    along = (swept or [axis.name for axis in axes if axis.name != "seed"] or ["seed"])[0]
    return along, ["run", *(name for name in swept if name != along)]


def _check_metric(metric: str, cells: "Sequence[Cell]") -> None:
    from ..errors import SettingError
    from ..job.faults import nearest
    from ..studies.sweep_figures import possible_figures

    known = possible_figures(cell.job for cell in cells)
    if metric not in known:
        near = nearest(metric, known)
        tip = f"did you mean {near}?" if near else "there is " + ", ".join(known[:6]) + " and more."
        raise SettingError(f"--metric names {metric!r}, which the task {cells[0].job.task.kind} does not measure; {tip}")


@contextmanager
def watching(cell: "Cell", place: int, of: int) -> Iterator[Any]:
    """Say which cell it is, and show its progress."""
    from rich.text import Text

    from .progress import watch

    err().print(Text(f"cell {place} of {of}  {cell.name}", style="bold"))
    with watch(err()) as watcher:
        yield watcher


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, without what is not known."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
