"""From a claim to the runs that decide it, and from their tables to evidence."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, SettingError
from ...run_files import read_json_file
from ..arms import make_arms
from ..grid import FEDERATED, Axis, Cell, make_cells, read_axes, split_values
from ..recipes import Recipe, load_recipe
from ..sweep import Swept, columns_of
from .claim import Claim, Comparison
from .evidence import Evidence

if TYPE_CHECKING:
    import pandas as pd

    from ...job import Job

SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs that decide some comparisons of a claim."""

    axes: tuple[Axis, ...]
    cells: Sequence[Cell]  # that are a side of one of them
    others: Sequence[Cell]  # of the same recipe
    comparisons: Sequence[Comparison]
    settings: Sequence[str]  # of all of them, seeds apart


def cells_of(claim: Claim, data: Path, settings: Sequence[str] = ()) -> list[Runs]:
    """Return the runs that decide a claim: those of comparisons with the same settings together.

    Args:
        data: the folder of data sets.
        settings: of all runs, on top of the claim's, such as stop.rounds=2 or seed=0,1.

    Raises:
        SettingError: if a recipe tests none of it, or a job is wrong.
    """
    if not claim.recipe:
        raise SettingError(f"the claim {claim.id} is tested by no recipe" + (f"; run {claim.command}" if claim.command else ""))
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for comparison in claim.compare:
        groups.setdefault(tuple(comparison.settings), []).append(comparison)
    return [_runs(claim, data, [*claim.settings, *own, *settings], wanted) for own, wanted in groups.items()]


def _runs(claim: Claim, data: Path, given: Sequence[str], wanted: Sequence[Comparison]) -> Runs:
    recipe = load_recipe(claim.recipe)
    varied = {name_of(text): text for text in given}  # the last of a name wins
    constant = [text for name, text in varied.items() if name != "seed"]
    varied.setdefault("seed", "seed=" + ",".join(map(str, SEEDS[:1] if claim.counted else SEEDS)))
    axes, cells = (
        make_arms(recipe, claim.variant, data, list(varied.values())) if recipe.arms else _swept(claim, recipe, data, varied)
    )
    rows = [{"run": cell.run, **columns_of(axes, cell)} for cell in cells]
    sides = [side for one in wanted for side in (one.of, one.against) if side is not None]
    lacking = next((side for side in sides if not any(_fits(side, row) for row in rows)), None)
    if lacking is not None:
        raise SettingError(
            f"no run of the recipe {recipe.name} has {lacking}, a side of the claim {claim.id}; change other settings"
        )
    chosen = [cell for cell, row in zip(cells, rows, strict=True) if any(_fits(side, row) for side in sides)]
    others = [cell for cell in cells if cell not in chosen]
    return Runs(axes=axes, cells=chosen, others=others, comparisons=wanted, settings=constant)


def name_of(setting: str) -> str:
    """Return the name in a setting such as tuning.rank=8."""
    return setting.partition("=")[0].strip()


def _swept(claim: Claim, recipe: Recipe, data: Path, varied: Mapping[str, str]) -> tuple[tuple[Axis, ...], list[Cell]]:
    axes = read_axes([text for text in varied.values() if _several(text) or name_of(text) == "seed"])
    fixed = [text for name, text in varied.items() if name not in {axis.name for axis in axes}]

    def load(own: Sequence[str]) -> "Job":
        return recipe.make_job(claim.variant, data, [*fixed, *own])

    return axes, make_cells(axes, load, runs=(FEDERATED, *claim.baselines), constants=False)


def _several(setting: str) -> bool:
    return len(split_values(setting.partition("=")[2])) > 1


def effects_in(comparison: Comparison, swept: Swept) -> dict[int, float]:
    """Return the effect of a comparison for each seed of which both sides are done.

    Raises:
        DataError: if the tables lack the figure.
    """
    table = swept.table[swept.table["status"] == "done"]
    of = _side(comparison.figure, comparison.of, table)
    if comparison.against is None:
        return {seed: value - comparison.bar for seed, value in of.items()}
    against = _side(comparison.against_figure or comparison.figure, comparison.against, table)
    change = comparison.by == "change"
    return {
        seed: (of[seed] - against[seed]) / (against[seed] if change else 1.0) - comparison.bar for seed in of if seed in against
    }


def finding(claim: Claim, comparison: Comparison, swept: Swept, *, size: str) -> Evidence:
    """Return what finished runs say of a comparison.

    Raises:
        DataError: if no seed has both sides.
    """
    effects = effects_in(comparison, swept)
    if not effects:
        raise DataError(f"no seed in {swept.folder} has both sides of the comparison {comparison.name} of {claim.id}")
    return Evidence(
        claim=claim.id,
        comparison=comparison.name,
        origin="measured",
        commit=_commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(Path(str(swept.table["folder"].iloc[0]))),
        size=size,
        seeds=sorted(effects),
        effects=[effects[seed] for seed in sorted(effects)],
        source=swept.folder.name,
    )


def _fits(side: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Return whether a row has the values of a side; a baseline that does not depend on a setting has any value of it."""

    def fit(name: str, wanted: Any) -> bool:
        value = row.get(name)
        if isinstance(wanted, str):
            return fnmatchcase("" if value is None else str(value), wanted)
        return bool(value == wanted) or (value is None and row.get("run") != FEDERATED)

    return all(fit(name, wanted) for name, wanted in side.items()) and (
        "run" in side or "arm" in side or row.get("run") == FEDERATED
    )


def _side(figure: str, side: Mapping[str, Any], table: "pd.DataFrame") -> dict[int, float]:
    """Return the figure of one side by seed: the mean, where several rows are on it."""
    values: dict[int, list[float]] = {}
    for row in table.to_dict("records"):
        known = {str(name): None if value != value else value for name, value in row.items()}  # noqa: PLR0124 - NaN
        if _fits(side, known):
            values.setdefault(int(str(known["seed"])), []).append(_figure(figure, known))
    return {seed: sum(found) / len(found) for seed, found in values.items()}


def _figure(name: str, row: Mapping[str, Any]) -> float:
    kind, dot, column = name.partition(".")
    if dot and kind in {"clients", "rounds"}:
        import pandas as pd

        own = pd.read_parquet(Path(str(row["folder"])) / f"{kind}.parquet")
        if column in own and own[column].notna().any():
            return float(own[column].mean())
    elif row.get(name) is not None:
        return float(row[name])
    raise DataError(f"the run {row['cell']} has no figure {name}")


def _commit() -> str:
    """Return the commit of the checkout that runs, or the version of the package."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        from importlib.metadata import version

        return f"version {version('fedtailor')}"


def _machine(run: Path) -> str:
    """Return what a run was made on, in a few words."""
    facts = read_json_file(run / "environment.json")
    return str(facts["gpu"]) if facts.get("gpu") else f"{facts.get('cores')} cores, {facts.get('processor')}"
