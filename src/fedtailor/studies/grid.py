"""The cells of a sweep: every combination of the values that its settings are given."""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from ..errors import SettingError
from ..job import Job
from ..yaml_text import apply_override, read_yaml
from .baselines import Baseline, baseline_job
from .cell_names import Label, cell_name, value_text

FEDERATED = "federated"  # the job itself, beside its baselines
MOST_CELLS = 10_000  # of one sweep
PAIRS = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """One setting and the values that it takes."""

    name: str  # dotted
    texts: tuple[str, ...]  # the values as they were written, in YAML
    values: tuple[Any, ...]  # the same, read


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep."""

    name: str  # of its folder
    run: str  # federated, or a baseline
    settings: dict[str, Any]  # value by dotted name; None where a baseline does not depend on it
    job: Job
    labels: dict[str, str] = field(default_factory=dict)  # the values as short texts


def read_axis(text: str) -> Axis:
    """Return the setting and the values in `a.b=1,2,3`; commas within brackets or quotes part nothing.

    Raises:
        SettingError: if it is no setting with values, or a value is there twice.
    """
    apply_override({}, f"{text.partition('=')[0]}=0" if "=" in text else text)  # refuses what is no name
    name, _, written = text.partition("=")
    texts = tuple(part.strip() for part in split_values(written))
    if not all(texts):
        raise SettingError(f"{text!r} has an empty value; write the values with commas between them, such as tuning.rank=2,4,8")
    values = tuple(read_yaml(part, f"the value {part!r} of {name}") for part in texts)
    for place, value in enumerate(values):
        if value in values[:place]:
            raise SettingError(f"{name.strip()} is given the value {texts[place]} twice; write each value once")
    return Axis(name=name.strip(), texts=texts, values=values)


def split_values(text: str) -> list[str]:
    """Return the parts between commas that stand outside of brackets and quotes."""
    parts, closing, quote = [""], list[str](), ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in PAIRS:
            closing.append(PAIRS[sign])
        elif closing and sign == closing[-1]:
            closing.pop()
        elif sign == "," and not closing:
            parts.append("")
            continue
        parts[-1] += sign
    return parts


def make_grid(job: Path, settings: Sequence[str], baselines: Sequence[str] = ()) -> tuple[tuple[Axis, ...], list[Cell]]:
    """Return the settings with their values, and a cell for each combination: the first setting changes slowest.

    Args:
        job: the job file that all cells start from.
        settings: such as tuning.rank=2,4,8 and seed=0,1,2.
        baselines: each of them adds a cell to every combination.

    Raises:
        SettingError: if a setting cannot be read, is there twice, or one of the jobs is wrong; the cell is named then.
    """
    for kind in baselines:
        if kind not in get_args(Baseline):
            raise SettingError(f"there is no baseline {kind!r}; choose one of {', '.join(get_args(Baseline))}")
    axes = read_axes(settings)
    return axes, make_cells(axes, partial(Job.load, job), runs=(FEDERATED, *dict.fromkeys(baselines)), constants=False)


def read_axes(settings: Sequence[str]) -> tuple[Axis, ...]:
    """Return several settings with their values.

    Raises:
        SettingError: if one cannot be read or is there twice, or there is none.
    """
    axes = tuple(read_axis(text) for text in settings)
    names = [axis.name for axis in axes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingError(f"{twice} is given twice; write all its values in one place: {twice}=1,2,3")
    if not axes:
        raise SettingError("a sweep needs a setting with its values, such as tuning.rank=2,4,8 or seed=0,1,2")
    return axes


def make_cells(
    axes: Sequence[Axis],
    load: Callable[[Sequence[str]], Job],
    *,
    runs: Sequence[str] = (FEDERATED,),
    prefix: str = "",
    constants: bool = True,
) -> list[Cell]:
    """Return a cell for each combination of values and each of `runs`: the first setting changes slowest.

    Args:
        load: makes the job with some settings put on top, such as tuning.rank=2.
        prefix: goes in front of the cells' names.
        constants: whether names have settings of one value, where others have several.

    Raises:
        SettingError: if one of the jobs is wrong; the cell is named then.
    """
    count = math.prod(len(axis.values) for axis in axes) * len(runs)
    if count > MOST_CELLS:
        raise SettingError(
            f"these settings make {count:,} cells, each of them a run, and a sweep has at most {MOST_CELLS:,}: name fewer values"
        )
    combinations = [
        {axis: place for axis, place in zip(axes, chosen, strict=True)}
        for chosen in itertools.product(*(range(len(axis.values)) for axis in axes))
    ]
    several = [axis.name for axis in axes if constants or len(axis.values) > 1] or [axis.name for axis in axes]
    jobs = [_load(load, picked, prefix, several) for picked in combinations]
    labels = {axis.name: _labels(axis, combinations, jobs) for axis in axes}
    made: dict[tuple[str, str], Cell] = {}
    for number, (picked, job) in enumerate(zip(combinations, jobs, strict=True)):
        settings = {axis.name: axis.values[place] for axis, place in picked.items()}
        for run in runs:
            once = run != FEDERATED and len(runs) > 1  # a baseline that a setting does not change runs once for all its values
            key = (run, json.dumps(carried_out(job, run).to_dict(), sort_keys=True) if once else str(number))
            named = {axis.name: labels[axis.name][place] for axis, place in picked.items()}
            cell = made.get(key) or Cell(name="", run=run, settings=settings, labels=named, job=job)
            same = {name: value for name, value in settings.items() if cell.settings[name] == value}
            made[key] = replace(cell, settings=dict.fromkeys(settings) | same)
    return [replace(cell, name=_name(cell, several, prefix, beside=len(runs) > 1)) for cell in made.values()]


def carried_out(job: Job, run: str) -> Job:
    """Return the job as one of its runs carries it out: as it is, or as the baseline of that name does."""
    return job if run == FEDERATED else baseline_job(job, cast(Baseline, run))


def _load(load: Callable[[Sequence[str]], Job], picked: Mapping[Axis, int], prefix: str, names: Sequence[str]) -> Job:
    try:
        return load([f"{axis.name}={axis.texts[place]}" for axis, place in picked.items()])
    except SettingError as error:
        name = prefix + cell_name({axis.name: axis.values[place] for axis, place in picked.items() if axis.name in names})
        raise SettingError(f"the cell {name} is no job that can run: {error}") from None


def _name(cell: Cell, names: Sequence[str], prefix: str, *, beside: bool) -> str:
    """Return the name of a cell's folder: prefix, those of the settings that the cell depends on, and which of several runs it is."""
    baseline = beside and cell.run != FEDERATED
    counting = {
        name: Label(cell.labels[name]) if isinstance(value, dict) else value
        for name, value in cell.settings.items()
        if name in names and (not baseline or value is not None)
    }
    return prefix + "_".join([*([cell_name(counting)] if counting else []), *([cell.run] if baseline else [])])


def _labels(axis: Axis, combinations: Sequence[Mapping[Axis, int]], jobs: Sequence[Job]) -> list[str]:
    """Return a short text for each value: of sections what differs between them, with the defaults of what one of them leaves out."""
    if not all(isinstance(value, dict) for value in axis.values):
        return [value_text(value) for value in axis.values]
    written = [_flat(value) for value in axis.values]
    names = list(dict.fromkeys(name for flat in written for name in flat))
    differing = [name for name in names if len({flat.get(name) for flat in written}) > 1]
    texts = []
    for place, flat in enumerate(written):
        job = next(job for picked, job in zip(combinations, jobs, strict=True) if picked[axis] == place)
        whole = _flat(_at(job.to_dict(), axis.name.split(".")))
        known = {name: flat.get(name, whole.get(name)) for name in differing}
        texts.append(", ".join(text if name == "kind" else f"{name}={text}" for name, text in known.items() if text is not None))
    return texts if len(set(texts)) == len(texts) else [value_text(value) for value in axis.values]


def _flat(section: object, path: str = "") -> dict[str, str]:
    """Return the settings of a section by dotted name; what kind a section is of stands under the section's own name."""
    if not isinstance(section, Mapping):
        return {path: value_text(section)}
    found: dict[str, str] = {}
    for key, value in section.items():
        found |= _flat(value, path if key == "kind" and path else f"{path}.{key}" if path else str(key))
    return found


def _at(section: Any, path: Sequence[str]) -> Any:
    for key in path:
        section = section.get(key) if isinstance(section, Mapping) else None
    return section
