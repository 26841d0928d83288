"""Runs a recipe that compares several systems: all its cells, one table, two plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .console import complain, out, print_json
from .sweep import rows_of, watching

if TYPE_CHECKING:
    import pandas as pd

    from ..report.several.crossover import Crossover
    from ..studies.recipes import Recipe
    from ..studies.sweep import Swept


IN_ONE_PLACE = [("rows", "all of them: the data are in one place")]


def run_arms(
    recipe: "Recipe",
    variant: str,
    data: Path,
    settings: Sequence[str],
    *,
    only: Sequence[str] = (),
    out_folder: Path | None = None,
    as_json: bool = False,
) -> None:
    """Run the cells of a recipe that are not done, and print what all that are done came to.

    Args:
        only: patterns of the names of cells to run; empty: all.
    """
    from ..report.plots.plot import check_plots
    from ..studies.arms import choose, make_arms, runs_folder
    from ..studies.sweep import run_sweep

    check_plots()
    folder = out_folder or runs_folder(recipe, variant)
    axes, cells = make_arms(recipe, variant, data, settings, folder=folder)
    chosen = choose(cells, only, folder)
    try:
        swept = run_sweep(axes, chosen, folder, watching=None if as_json else watching)
    except KeyboardInterrupt:
        complain(f"stopped; the same command continues with what is missing in {folder}")
        raise typer.Exit(1) from None
    _print(recipe, swept, as_json=as_json)
    if swept.failed:
        raise typer.Exit(1)


def _print(recipe: "Recipe", swept: "Swept", *, as_json: bool) -> None:
    """Write the means and the plots, and print the table."""
    from ..report.plots.arms_plot import plot_against_bytes, plot_crossover
    from ..report.several.arms import show_arms, with_lost
    from ..storage import write_text
    from ..studies.arms import ARM
    from ..studies.sweep_figures import directions_in, spread

    own = directions_in(swept.table, swept.folder)
    means = with_lost(spread(swept.table, swept.axes), metric=recipe.metric, base=recipe.base, own=own)
    write_text(swept.folder / "means.csv", means.to_csv(index=False))
    settings = [axis.name for axis in swept.axes if axis.name not in (ARM, "seed")]
    crossover = _crossover(recipe, means)
    plot_against_bytes(means, settings=settings, metric=recipe.metric, folder=swept.folder)
    if crossover is not None:
        plot_crossover(crossover, swept.folder)
    if as_json:
        result = {"folder": str(swept.folder), "failed": swept.failed, "cells": rows_of(swept.table), "means": rows_of(means)}
        result |= {} if crossover is None else {"crossings": crossover.crossings}
        print_json(result)
        return
    out().print(
        show_arms(
            swept.table,
            means,
            settings=settings,
            metric=recipe.metric,
            folder=str(swept.folder),
            crossover=crossover,
            columns=recipe.columns,
            leaving=_leaving(swept) if recipe.leaving else None,
        )
    )


def _leaving(swept: "Swept") -> dict[str, list[tuple[str, str]]]:
    """Return what may leave a client of each arm, by the manifest of the first of its cells that is done."""
    from ..report.page.leaving import kinds_in_short
    from ..studies.arms import ARM

    done = swept.table[swept.table["status"] == "done"].drop_duplicates(ARM)
    return {
        row[ARM]: IN_ONE_PLACE if str(row["run"]).startswith("central") else kinds_in_short(Path(row["folder"]))
        for row in done.to_dict("records")
    }


def _crossover(recipe: "Recipe", means: "pd.DataFrame") -> "Crossover | None":
    from ..report.several.crossover import find_crossover

    return find_crossover(means, **recipe.crossover) if recipe.crossover else None
