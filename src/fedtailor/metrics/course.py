"""The course of a run: how steadily its validation loss fell, and what it took to reach a figure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ..errors import SettingError
from .figure import directions

VALIDATION = "validation_loss"


def stability(losses: Iterable[object]) -> dict[str, float]:
    """Return how steadily a validation loss fell; empty if fewer than two are known.

    Args:
        losses: before round 1 and of each evaluation after it, in order; what is no finite number is passed over.

    Returns:
        `rises`: evaluations whose loss is larger than that of the one before; `largest_rise` and `risen`: the largest and the sum of what they
        rose by; `last_over_best`: how far the last lies above the least.
    """
    known = [loss for loss in losses if isinstance(loss, int | float) and math.isfinite(loss)]
    if len(known) < 2:
        return {}
    rises = [after - before for before, after in pairwise(known) if after > before]
    return {
        "rises": len(rises),
        "largest_rise": max(rises, default=0.0),
        "risen": sum(rises),
        "last_over_best": known[-1] - min(known),
    }


@dataclass(frozen=True, kw_only=True)
class Target:
    """A figure that a run is to reach."""

    metric: str  # of the test set or the clients' test parts, or validation_loss
    value: float

    def __str__(self) -> str:
        return f"{self.metric} {self.value:g}"

    def is_reached(self, value: object, own: Mapping[str, bool]) -> bool:
        """Return whether a figure is as good; `own` says whether more is better, for each metric of the user's own."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return value >= self.value if directions(own).get(self.metric, False) else value <= self.value


class Reached(NamedTuple):
    """What it took to reach a target."""

    rounds: int
    bytes: float  # of messages of training, both ways, all clients together
    seconds: float  # of local training, all clients together


def read_target(text: str) -> Target:
    """Return the target that `loss=1.85` names.

    Raises:
        SettingError: if it is no metric with a number.
    """
    metric, equals, number = (part.strip() for part in text.partition("="))
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not equals or not metric or not math.isfinite(value):
        raise SettingError(f"--target is a metric and a number, such as loss=1.85 or validation_loss=1.9; got {text!r}")
    return Target(metric=metric, value=value)


def known_targets(summary: Mapping[str, Any]) -> list[str]:
    """Return the metrics that a run can be held against."""
    return [*(summary.get("metrics") or {}).get("after", {}), VALIDATION]


def when_reached(target: Target, summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> Reached | None:
    """Return what a run took until an evaluation first found the target reached; None if none did.

    Args:
        summary: of the run; its start counts as round 0, its end as the last round where that was not evaluated for the metric.
        rounds: rows of rounds.parquet, in order.
    """
    own = (summary.get("evaluation") or {}).get("own_metrics") or {}
    name = VALIDATION if target.metric == VALIDATION else f"test_{target.metric}"
    start, end = (_edge(summary, target.metric, moment) for moment in ("before", "after"))
    if target.is_reached(start, own):
        return Reached(0, 0.0, 0.0)
    sent = seconds = 0.0
    for place, row in enumerate(rounds, start=1):
        sent += _number(row.get("up_bytes")) + _number(row.get("down_bytes"))
        seconds += _number(row.get("seconds"))
        value = row.get(name)
        if place == len(rounds) and not _number(value):
            value = end
        if target.is_reached(value, own):
            return Reached(int(row["round"]), sent, seconds)
    return None


def _edge(summary: Mapping[str, Any], metric: str, moment: str) -> object:
    if metric == VALIDATION:
        return (summary.get(VALIDATION) or {}).get(moment)
    return (summary.get("metrics") or {}).get(moment, {}).get(metric)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
