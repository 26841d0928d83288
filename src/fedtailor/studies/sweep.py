"""A job run over a grid of settings: a run folder for each cell, and one table of all."""

import gc
import json
import shutil
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import DataError, FedtailorError, ResumeError
from ..job import Job
from ..protocols import Distillation
from ..running import RunFolder, Watcher, run
from .baselines import Baseline, run_baseline
from .grid import FEDERATED, Axis, Cell, carried_out, value_text

if TYPE_CHECKING:
    import pandas as pd

Watching = Callable[
    [Cell, int, int], AbstractContextManager[Watcher | None]
]  # of a cell, its place from 1, and how many there are
TABLE = "table"
MARK = "sweep.json"  # a folder that has one is a sweep's
SCOPES = (  # ending of a figure's name -> where the summary has it
    ("", "metrics", "after"),
    ("_before", "metrics", "before"),
    ("_client_mean", "clients", "mean"),
    ("_client_worst", "clients", "worst"),
    ("_client_p10", "clients", "p10"),
)
PERSONAL = (  # ending -> where the section "personal" has it: of the clients' own weights, of the base, and of each client alone
    ("_personal", "personal", "mean"),
    ("_personal_worst", "personal", "worst"),
    ("_personal_p10", "personal", "p10"),
    ("_personal_public", "public", "mean"),
    ("_base", "base", "mean"),
    ("_base_worst", "base", "worst"),
    ("_base_p10", "base", "p10"),
    ("_local", "local", "mean"),
    ("_local_worst", "local", "worst"),
    ("_local_p10", "local", "p10"),
    ("_local_public", "local_public", "mean"),
)
DISTILLED = (  # of the clients' own models, where they distil
    ("_aligned", "own", "mean"),
    ("_aligned_public", "public", "mean"),
)
COSTS = {
    "up_bytes": ("traffic", "up_bytes"),
    "down_bytes": ("traffic", "down_bytes"),
    "flops": ("flops", "client_total"),
    "peak_bytes": ("memory", "peak_bytes"),
    "client_memory_bytes": ("memory", "client_foretold_bytes"),
    "seconds": ("seconds", "total"),
}
PUBLIC = {  # of the public set, where clients distil -> where the summary's section has it
    "public_examples": ("examples",),
    "public_fit": ("told_apart", "mean"),
    "labels_unlike": ("labels_unlike",),
}
LEARNING = {"learning_up_bytes": "up_bytes", "learning_down_bytes": "down_bytes"}  # of all messages but those of evaluation
COUNTS = ("rounds", "best_round", "trainable_parameters")


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
) -> Swept:
    """Run every cell that is not done, each in its own folder, and return the table of all.

    A cell that is done is not run again, one that was interrupted resumes from its last checkpoint; a baseline that was interrupted
    starts again. A cell that fails does not hold the others up.

    Args:
        metric: that is shown first where the folder is looked at later.

    Raises:
        ResumeError: if `folder` is no sweep's, or a cell in it was run with other settings; nothing has been run then.
    """
    _check_folder(cells, folder)
    home = RunFolder(folder)
    _take_over(cells, folder)
    told = {"settings": {axis.name: list(axis.values) for axis in axes}, "cells": [cell.name for cell in cells], "metric": metric}
    home.write_json(MARK, told)
    rows = []
    for place, cell in enumerate(cells, start=1):
        with watching(cell, place, len(cells)) if watching else nullcontext() as watcher:
            error = _run_cell(cell, folder, watcher, data)
        rows.append(_row(cell, folder, error) | _columns(axes, cell))
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
        told = json.loads((folder / MARK).read_text(encoding="utf-8"))
        axes = tuple(Axis(name=name, texts=(), values=tuple(values)) for name, values in told["settings"].items())
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
    return Swept(folder=folder, axes=axes, table=table), str(told.get("metric", "loss"))


def _table(axes: Sequence[Axis], rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(rows)
    return table[[*_heads(axes), *(name for name in table.columns if name not in _heads(axes))]]


def spread(table: "pd.DataFrame", axes: Sequence[Axis]) -> "pd.DataFrame":
    """Return a row for each setting but for the seed: `n` seeds done, `of` all, and of every figure mean and standard deviation.

    The standard deviation is that of a sample (n - 1); it is empty where n is 1.
    """
    keys = ["run", *(axis.name for axis in axes if axis.name != "seed")]
    figures = [name for name in figures_of(table) if name not in keys]
    rows = []
    for chosen, group in table.groupby(keys, sort=False, dropna=False):
        done = group[group["status"] == "done"]
        row = dict(zip(keys, chosen, strict=True)) | {"n": len(done), "of": len(group)}
        for name in figures:
            row |= {name: done[name].mean(), f"{name}_sd": done[name].std(ddof=1)}
        rows.append(row)
    import pandas as pd

    return pd.DataFrame(rows)


def directions_in(swept: Swept) -> dict[str, bool]:
    """Return whether more is better, for each metric of the user's own that cells report."""
    own: dict[str, bool] = {}
    for name in swept.table["cell"]:
        summary = swept.folder / "cells" / str(name) / "summary.json"
        told = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
        own |= at(told, ("evaluation", "own_metrics")) or {}
    return own


def figures_of(table: "pd.DataFrame") -> list[str]:
    """Return the columns that hold figures: metrics and costs."""
    known = ("cell", "run", "status", "error", "folder", "stopped_by", "seed")
    return [str(name) for name in table.columns if name not in known and "." not in str(name) and table[name].dtype.kind in "fiu"]


def possible_figures(jobs: Iterable[Job]) -> list[str]:
    """Return the figures that a sweep of these jobs can tell, before it is run."""
    metrics: dict[str, None] = {}
    scopes, public = [*SCOPES], list[str]()
    for job in jobs:
        metrics |= dict.fromkeys(("loss", *job.task.metrics, *job.evaluation.directions))
        if job.personalization.personal:
            scopes = [*scopes, *(scope for scope in PERSONAL if scope not in scopes)]
        if isinstance(job.protocol, Distillation):
            scopes, public = [*scopes, *(scope for scope in DISTILLED if scope not in scopes)], [*PUBLIC]
    return [f"{metric}{suffix}" for suffix, _, _ in scopes for metric in metrics] + [*COSTS, *LEARNING, *public, *COUNTS]


def _check_folder(cells: Sequence[Cell], folder: Path) -> None:
    """Raise ResumeError unless what is in the folder belongs to these cells."""
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
        told = json.loads((path / "environment.json").read_text(encoding="utf-8"))
        return (told.get("baseline") or FEDERATED) == run and not job.differences(Job.load(path / "job.yaml"))
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
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        reason = " ".join(str(error).split())
        return reason if isinstance(error, FedtailorError) else f"{type(error).__name__}: {reason}"
    return None


def _row(cell: Cell, folder: Path, error: str | None) -> dict[str, Any]:
    """Return what the table tells about a cell."""
    path = cell_folder(folder, cell)
    row = {"cell": cell.name, "run": cell.run, "status": "failed" if error else "done"}
    row |= {"error": error or "", "folder": str(path)}
    return row if error else row | _figures(json.loads((path / "summary.json").read_text(encoding="utf-8")))


def _figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a run by the names that `possible_figures` tells."""
    found: dict[str, Any] = {}
    for suffix, section, moment in SCOPES:
        found |= {f"{name}{suffix}": value for name, value in summary.get(section, {}).get(moment, {}).items()}
    for whole, scopes in (("personal", PERSONAL), ("distillation", DISTILLED)):
        for suffix, section, moment in scopes:
            told = at(summary, (whole, section, moment)) or {}
            found |= {f"{name}{suffix}": value for name, value in told.items()}
    found |= {name: summary.get(section, {}).get(key) for name, (section, key) in COSTS.items()}
    kinds = summary.get("traffic", {}).get("by_kind", {})
    found |= {name: sum(kinds[kind][key] for kind in kinds if kind != "evaluate") for name, key in LEARNING.items()}
    public = summary.get("distillation", {}).get("public_set", {})
    found |= {name: at(public, path) for name, path in PUBLIC.items()} if public else {}
    return found | {name: summary.get(name) for name in COUNTS} | {"stopped_by": summary.get("stopped_by")}


def at(section: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path of nested mappings; None if nothing does."""
    for key in path:
        section = section.get(key) if isinstance(section, Mapping) else None
    return section


def _columns(axes: Sequence[Axis], cell: Cell) -> dict[str, Any]:
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
