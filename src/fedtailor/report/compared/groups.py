"""Runs that differ in their seed alone, taken together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from ...metrics.figure import leading
from ..read import Run
from ..several.comparison import NOT_COMPARED, differences

SEED = "seed"
T_975: Mapping[int, float] = {  # quantile of Student's t by degrees of freedom, for intervals of 95 %
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 12: 2.179, 15: 2.131,
    20: 2.086, 30: 2.042,
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """The runs of one setting, by seed."""

    label: str  # the settings in which it differs from others
    settings: Mapping[str, str]
    runs: Mapping[str, Run]  # by seed

    def values(self, metric: str) -> dict[str, float]:
        """Return a metric after each run, by seed."""
        found = {seed: run.summary["metrics"]["after"].get(metric) for seed, run in self.runs.items()}
        return {seed: float(value) for seed, value in found.items() if isinstance(value, int | float)}

    def mean(self, *path: str) -> float | None:
        """Return the mean over seeds of a number in the summary; None if no run has it."""
        found = [value for run in self.runs.values() if (value := _at(run.summary, path)) is not None]
        return fmean(found) if found else None

    @cached_property
    def alone(self) -> bool:
        """Whether it is a baseline, where nobody sends anything."""
        return all(run.alone for run in self.runs.values())


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Return the groups of some runs, in the order of their first ones."""
    texts = differences([run.settings for run in runs])
    seeds = texts.pop(SEED, [str(run.settings.get(SEED, 0)) for run in runs])
    kinds = [str(run.summary.get("baseline") or "") for run in runs]
    if len(set(kinds)) > 1:
        texts = {"run": [kind or "federated" for kind in kinds], **texts}
    found: dict[str, tuple[dict[str, str], dict[str, Run]]] = {}
    for place, run in enumerate(runs):
        own = {name: column[place] for name, column in texts.items() if name not in NOT_COMPARED}
        key = json.dumps(own, sort_keys=True)
        _, by_seed = found.setdefault(key, (own, {}))
        seed = seeds[place] if seeds[place] not in by_seed else f"{seeds[place]} ({run.folder.name})"
        by_seed[seed] = run
    single = len(found) == 1
    return [Group(_label(own, single, by_seed), own, by_seed) for own, by_seed in found.values()]


def _label(settings: Mapping[str, str], single: bool, runs: Mapping[str, Run]) -> str:
    if single or not settings:
        return next(iter(runs.values())).folder.name
    last = {name: name.removesuffix(".kind").rsplit(".", 1)[-1] for name in settings}
    short = {name: part if list(last.values()).count(part) == 1 else name for name, part in last.items()}
    return ", ".join(f"{short[name]} {value}" for name, value in settings.items() if value != "–") or "–"


def main_metric(runs: Sequence[Run], asked: str = "") -> str:
    """Return the metric that the runs are compared by: the one asked for, if each has it, else the leading one of those that all have."""
    shared = set.intersection(*({name for name in run.summary["metrics"]["after"]} for run in runs))
    return asked if asked in shared else str(leading(shared))


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation; 0 of a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the mean of paired differences, and half of its 95 % interval by Student's t; infinite of a single one."""
    if len(differences) < 2:
        return fmean(differences), float("inf")
    freedom = len(differences) - 1
    known = max(df for df in T_975 if df <= freedom)  # the next smaller: a wider interval
    return fmean(differences), T_975[known] * stdev(differences) / len(differences) ** 0.5


def unlike(runs: Sequence[Run]) -> list[str]:
    """Return what differs in how metrics were taken, so that they cannot be compared."""
    names = ("metrics_over", "evaluation.decoding", "evaluation.bleu", "evaluation.word_rule", "evaluation.block")
    found = []
    for name in names:
        values = {json.dumps(_section(run.summary, name.split(".")), sort_keys=True) for run in runs}
        if len(values) > 1:
            found.append(f"{name}: {' or '.join(sorted(values))}")
    return found


def _section(summary: Any, path: Sequence[str]) -> Any:
    for key in path:
        summary = summary.get(key) if isinstance(summary, Mapping) else None
    return summary


def _at(summary: Any, path: Sequence[str]) -> float | None:
    value = _section(summary, path)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
