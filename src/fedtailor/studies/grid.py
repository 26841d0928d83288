"""The cells of a sweep: every combination of the values that its settings are given."""

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ..errors import SettingError
from ..job import Job
from ..job_text import apply_override, read_yaml, write_yaml
from .baselines import Baseline

FEDERATED = "federated"  # the job itself, beside its baselines
MOST_OF_A_VALUE = 32  # characters of a value in a folder's name; what is cut off goes into a hash
MOST_OF_A_NAME = 150
MOST_CELLS = 10_000  # of one sweep
PAIRS = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True, kw_only=True)
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
    settings: dict[str, Any]  # value by dotted name
    job: Job


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
    return axes, make_cells(axes, partial(Job.load, job), runs=(FEDERATED, *dict.fromkeys(baselines)))


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
    axes: Sequence[Axis], load: Callable[[Sequence[str]], Job], *, runs: Sequence[str] = (FEDERATED,), prefix: str = ""
) -> list[Cell]:
    """Return a cell for each combination of values and each of `runs`: the first setting changes slowest.

    Args:
        load: makes the job with some settings put on top, such as tuning.rank=2.
        prefix: goes in front of the cells' names.

    Raises:
        SettingError: if one of the jobs is wrong; the cell is named then.
    """
    count = math.prod(len(axis.values) for axis in axes) * len(runs)
    if count > MOST_CELLS:
        raise SettingError(
            f"these settings make {count:,} cells, each of them a run, and a sweep has at most {MOST_CELLS:,}: name fewer values"
        )
    cells = []
    for chosen in itertools.product(*(range(len(axis.values)) for axis in axes)):
        picked = list(zip(axes, chosen, strict=True))
        name = prefix + cell_name({axis.name: axis.values[place] for axis, place in picked})
        try:
            loaded = load([f"{axis.name}={axis.texts[place]}" for axis, place in picked])
        except SettingError as error:
            raise SettingError(f"the cell {name} is no job that can run: {error}") from None
        for place, run in enumerate(runs):
            own = name if place == 0 else f"{name}_{run}"
            cells.append(Cell(name=own, run=run, settings={a.name: a.values[p] for a, p in picked}, job=loaded))
    return cells


def cell_name(settings: dict[str, Any]) -> str:
    """Return a name for a folder that tells the settings: tuning.rank=2_seed=0; equal settings have equal names."""
    name = "_".join(f"{key}={_slug(value)}" for key, value in settings.items())
    return name if len(name) <= MOST_OF_A_NAME else f"{name[: MOST_OF_A_NAME - 9]}-{_mark(name)}"


def value_text(value: object) -> str:
    """Return a value as it is written in a job, on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return write_yaml(value).splitlines()[0]


def _slug(value: object) -> str:
    text = value_text(value)
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-.")
    if plain == text and len(text) <= MOST_OF_A_VALUE:
        return text
    return f"{plain[:MOST_OF_A_VALUE].rstrip('-')}-{_mark(text)}".lstrip("-")


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
