"""A job run over a grid of settings: a run folder for each cell, and one table of all."""

import gc
import json
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import DataError, FedtailorError, ResumeError
from ..job import Job
from ..metrics.course import Target
from ..running import RunFolder, Watcher, run
from ..storage import write_text, writing
from .baselines import Baseline, run_baseline
from .cell_names import value_text
from .grid import FEDERATED, Axis, Cell, carried_out
from .sweep_figures import cell_figures, target_figures

if TYPE_CHECKING:
    import pandas as pd

Watching = Callable[
    [Cell, int, int], AbstractContextManager[Watcher | None]
]  # of a cell, its place from 1, and how many there are
TABLE = "table"
MARK = "sweep.json"  # a folder that has one is a sweep's


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep has made."""

    folder: Path
    axes: tuple[Axis, ...]
    table: "pd.DataFrame"  # a row a cell, also of those that failed

    @property
    def failed(self) -> int:
        """How many cells have no result."""
        return int((self.table["status"] == "failed").sum())


def run_sweep(
    axes: Sequence[Axis],
    cells: Sequence[Cell],
    folder: Path,
    *,
    watching: Watching | None = None,
    data: Any = None,
    metric: str = "loss",
    target: Target | None = None,
) -> Swept:
    """Run every cell that is not done, each in its own folder, and return the table of all.

    A cell that is done is not run again, one that was interrupted resumes from its last checkpoint; a baseline that was interrupted
    starts again. A cell that fails does not hold the others up.

    Args:
        metric: that is shown first where the folder is looked at later.
        target: what cells took to reach it has columns of its own.

    Raises:
        ResumeError: if `folder` is no sweep's, or a cell in it was run with other settings; nothing has been run then.
    """
    _check_folder(cells, folder)
    home = RunFolder(folder)
    _take_over(cells, folder)
    content = {
        "settings": {axis.name: list(axis.values) for axis in axes},
        "cells": [cell.name for cell in cells],
        "metric": metric,
        "target": None if target is None else str(target),
    }
    home.write_json(MARK, content)
    rows = []
    for place, cell in enumerate(cells, start=1):
        with watching(cell, place, len(cells)) if watching else nullcontext() as watcher:
            error = _run_cell(cell, folder, watcher, data)
        rows.append(_row(cell, folder, error, target) | columns_of(axes, cell))
        table = _table(axes, rows)  # after each cell: an interrupted sweep can be shown
        home.write_table(TABLE, table)
        home.write_text(f"{TABLE}.csv", table.to_csv(index=False))
        gc.collect()  # a backbone held by a cycle would stand beside the next one
    return Swept(folder=folder, axes=tuple(axes), table=table)


def read_sweep(folder: Path) -> tuple[Swept, str]:
    """Return what a sweep in `folder` has made so far, and the metric that was asked for.

    Raises:
        DataError: if no cell of it has ended, or one of its files is damaged.
    """
    import pandas as pd

    try:
        content = json.loads((folder / MARK).read_text(encoding="utf-8"))
        axes = tuple(Axis(name=name, texts=(), values=tuple(values)) for name, values in content["settings"].items())
        if not (folder / f"{TABLE}.parquet").is_file():
            raise DataError(f"no cell of the sweep in {folder} has ended; the same command of fedtailor sweep continues it")
        table = pd.read_parquet(folder / f"{TABLE}.parquet")
        missing = [name for name in _heads(axes) if name not in table]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"the sweep in {folder} cannot be read: {error}; the same command of fedtailor sweep writes its files again"
        ) from None
    if missing:
        raise DataError(
            f"{folder / TABLE}.parquet has no column {missing[0]}; the same command of fedtailor sweep writes it again"
        )
    return Swept(folder=folder, axes=axes, table=table), str(content.get("metric", "loss"))


def _table(axes: Sequence[Axis], rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(rows)
    return table[[*_heads(axes), *(name for name in table.columns if name not in _heads(axes))]]


def _check_folder(cells: Sequence[Cell], folder: Path) -> None:
    """Raise ResumeError unless what is in the folder belongs to these cells."""
    if folder.is_symlink() and not folder.exists():
        raise ResumeError(f"{folder} is a link that leads nowhere, or round in a circle; name another folder with --out")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise ResumeError(f"{folder} holds something that is no sweep; name another folder with --out")
    for cell in cells:
        file = cell_folder(folder, cell) / "job.yaml"
        job = carried_out(cell.job, cell.run)
        differing = job.differences(Job.load(file)) if file.is_file() else []
        if differing:
            raise ResumeError(
                f"the cell {cell.name} in {folder} was run with other settings: {', '.join(differing)} differ; take them back, "
                "or name another folder with --out"
            )


def _take_over(cells: Sequence[Cell], folder: Path) -> None:
    """Give cells the folders of the same runs under other names: which settings differ, and so what cells are called, may change with more values."""
    names = {cell.name for cell in cells}
    others = [path for path in sorted((folder / "cells").glob("*")) if path.name not in names and (path / "job.yaml").is_file()]
    for cell in cells if others else ():
        if cell_folder(folder, cell).exists():
            continue
        job = carried_out(cell.job, cell.run)
        for path in others:
            if _is_of(path, job, cell.run):
                path.rename(cell_folder(folder, cell))
                others.remove(path)
                break


def _is_of(path: Path, job: Job, run: str) -> bool:
    """Return whether a run folder is of a job, and of that run of it."""
    try:
        content = json.loads((path / "environment.json").read_text(encoding="utf-8"))
        return (content.get("baseline") or FEDERATED) == run and not job.differences(Job.load(path / "job.yaml"))
    except (OSError, ValueError, AttributeError, FedtailorError):
        return False


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Return the run folder of a cell."""
    return folder / "cells" / cell.name


def is_done(cell: Cell, folder: Path) -> bool:
    """Return whether a cell has a result in the folder of a sweep."""
    return (cell_folder(folder, cell) / "summary.json").is_file()


def _run_cell(cell: Cell, folder: Path, watcher: Watcher | None, data: Any) -> str | None:
    """Run one cell, or what is left of it; return why it failed, or None."""
    path, log = cell_folder(folder, cell), folder / "errors" / f"{cell.name}.txt"
    if is_done(cell, folder):
        return None
    log.unlink(missing_ok=True)
    try:
        if cell.run == FEDERATED and (path / "job.yaml").is_file():
            run(cell.job, data=data, resume=path, watcher=watcher)
            return None
        shutil.rmtree(path, ignore_errors=True)  # what is left of a start; no result was in it
        if cell.run == FEDERATED:
            run(cell.job, data=data, out=path, watcher=watcher)
        else:
            run_baseline(cell.job, cast(Baseline, cell.run), data=data, out=path, watcher=watcher)
    except Exception as error:
        with writing(folder):
            log.parent.mkdir(parents=True, exist_ok=True)
        write_text(log, traceback.format_exc())
        reason = " ".join(str(error).split())
        return reason if isinstance(error, FedtailorError) else f"{type(error).__name__}: {reason}"
    return None


def _row(cell: Cell, folder: Path, error: str | None, target: Target | None) -> dict[str, Any]:
    """Return what the table shows about a cell."""
    path = cell_folder(folder, cell)
    row = {"cell": cell.name, "run": cell.run, "status": "failed" if error else "done"}
    row |= {"error": error or "", "folder": str(path)}
    if error:
        return row
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return row | cell_figures(summary) | ({} if target is None else target_figures(path, summary, target))


def columns_of(axes: Sequence[Axis], cell: Cell) -> dict[str, Any]:
    """Return a cell's settings as values of columns: numbers where all values of a setting are numbers, else text; None where it has none."""

    def value(axis: Axis) -> Any:
        own = cell.settings[axis.name]
        if own not in axis.values or all(map(_is_number, axis.values)):
            return own
        return cell.labels.get(axis.name, value_text(own))

    return {axis.name: value(axis) for axis in axes}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _heads(axes: Sequence[Axis]) -> list[str]:
    return ["cell", "run", *(axis.name for axis in axes), "status", "error"]
