"""The cells of a recipe that compares several systems, each over grids of its own."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import SettingError
from ..job import Job
from .cell_names import value_text
from .grid import FEDERATED, Axis, Cell, make_cells, read_axes
from .nested import flat
from .recipes import Recipe, part_arm
from .sweep import cell_folder, is_done
from .sweep_figures import at

ARM = "arm"  # the column that says which system a cell is of
CELL = "cell:"  # of a path in a recipe, before the name of an arm further up: the folder of its run of the same seed


def make_arms(
    recipe: Recipe, variant: str, data: Path, overrides: Sequence[str] = (), *, folder: Path | None = None
) -> tuple[tuple[Axis, ...], list[Cell]]:
    """Return all cells of all arms, and what they differ in: the arm, every setting that one of them varies, the seed.

    A setting that an arm does not vary has its value from the arm's job, or None where the job has none of that name.

    Args:
        overrides: settings of every cell, such as stop.rounds=20; or of an arm's, such as ARM:stop.rounds=20; or other seeds, such as seed=0,1.
        folder: of the runs, in which a cell finds the run of another one that it names; left out: the folder that `fedtailor recipe run` chooses.

    Raises:
        SettingError: if a job is wrong, names the run of a cell that there is not, or an override names what the recipe, or that arm, varies.
    """
    recipe, overrides = with_seeds(recipe, overrides)
    seeds = "seed=" + ",".join(map(str, recipe.seeds_of(variant)))
    grids = [(name, read_axes([*shlex.split(grid), seeds])) for name, arm in recipe.arms.items() for grid in arm.grids(variant)]
    varied = list(dict.fromkeys(axis.name for _, axes in grids for axis in axes))
    recipe.settings(variant, overrides)  # refuses a setting of an arm that there is not
    _check_overrides(recipe, grids, overrides)
    varied = [*(name for name in varied if name != "seed"), "seed"]
    cells: list[Cell] = []
    runs = folder or runs_folder(recipe, variant)
    for name, axes in grids:
        run = recipe.arms[name].baseline or FEDERATED

        def load(own: Sequence[str], arm: str = name) -> Job:
            return recipe.make_job(variant, data, [*overrides, *own], arm=arm)

        for cell in make_cells(axes, load, runs=(run,), prefix=f"{name}_"):
            settings = {ARM: name} | {key: brief(value_at(cell.job, key)) for key in varied}
            cells.append(with_runs(replace(cell, labels={}, settings=settings), cells, runs))
    return tuple(_axis(name, cells) for name in (ARM, *varied)), cells


def runs_folder(recipe: Recipe, variant: str) -> Path:
    """Return the folder of a comparison's runs, where none is named."""
    return Path("runs") / f"{recipe.name}-{variant}"


def with_runs(cell: Cell, before: Sequence[Cell], folder: Path) -> Cell:
    """Return a cell with folders of runs in the place of settings such as cell:reader, which name the arm whose run it needs.

    Args:
        before: the cells that are run before it.
        folder: of the comparison.

    Raises:
        SettingError: if there is no such cell before it, or there are several.
    """
    job = cell.job
    for setting, value in flat(job.to_dict()).items():
        if not isinstance(value, str) or not value.startswith(CELL):
            continue
        arm = value.removeprefix(CELL)
        found = [one for one in before if one.settings[ARM] == arm and one.job.seed == job.seed]
        if len(found) != 1:
            raise SettingError(
                f"{setting} of the cell {cell.name} is {value}, the run of one cell of seed {job.seed} of an arm that stands before it; "
                f"there are {len(found)} of {arm}"
            )
        job = job.replace(setting, str(cell_folder(folder, found[0]).resolve()))
    return replace(cell, job=job)


def with_seeds(recipe: Recipe, overrides: Sequence[str]) -> tuple[Recipe, list[str]]:
    """Return a comparison with the seeds that an override such as seed=0,1 names, and the other overrides.

    Raises:
        SettingError: if the seeds cannot be read, or are given twice.
    """
    named = [text for text in overrides if text.partition("=")[0].strip() == "seed"]
    if not named:
        return recipe, list(overrides)
    (axis,) = read_axes(named)
    return replace(recipe, seeds=axis.values, small_seeds=None), [text for text in overrides if text not in named]


def choose(cells: Sequence[Cell], patterns: Sequence[str], folder: Path) -> list[Cell]:
    """Return the cells whose names fit one of the patterns, and those that are done in `folder`; all of them without patterns.

    Raises:
        SettingError: if a pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            raise SettingError(f"no cell is named {pattern}; the first is {cells[0].name}, and * stands for anything")
    return [
        cell
        for cell in cells
        if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns) or is_done(cell, folder)
    ]


def value_at(job: Job, name: str) -> Any:
    """Return the value of a dotted setting of a job; None if it has none of that name."""
    return at(job.to_dict(), name.split("."))


def brief(value: Any) -> Any:
    """Return a technique as its kind and its settings, in a few words; another value as it is."""
    if not isinstance(value, Mapping) or "kind" not in value:
        return value
    return " ".join(str(inner) for inner in value.values() if inner is not None)


def _check_overrides(recipe: Recipe, grids: Sequence[tuple[str, Sequence[Axis]]], overrides: Sequence[str]) -> None:
    for whose, override in map(part_arm, overrides):
        named = override.partition("=")[0].strip()
        if any(axis.name == named for arm, axes in grids if whose in {None, arm} for axis in axes):
            raise SettingError(
                f"{named} is what {whose or f'the recipe {recipe.name}'} varies; choose among its cells with --only, such as "
                f"--only '*{named}=…*', or write the job with fedtailor recipe show {recipe.name} --yaml"
            )


def _axis(name: str, cells: Sequence[Cell]) -> Axis:
    values = tuple(dict.fromkeys(cell.settings[name] for cell in cells if cell.settings[name] is not None))
    return Axis(name=name, texts=tuple(map(value_text, values)), values=values)
