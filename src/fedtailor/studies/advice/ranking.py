"""The order of systems by what finished runs measured, nearest ones first; and how often that order is right."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FIRST = 2  # systems that count as advised
LEAST_CHOICES = 2  # systems between which a decision is one


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job is, among those that there is evidence of."""

    task: str
    backbone: str
    clients: int
    rows: float  # a client
    divergence: float | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is known of a system near a place."""

    system: str
    score: float  # mean standing among the systems of a decision, weighted by nearness: 0 is their mean, and more is better
    runs: int
    decisions: int
    gain: float | None  # mean difference to the decision's mean, in the metric; None where decisions have several metrics
    metric: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One decision, taken with the evidence of all others."""

    decision: str
    winner: str  # as measured
    advised: Sequence[str]  # the first two
    choices: int

    @property
    def right(self) -> bool:
        """Whether the winner is among the advised."""
        return self.winner in self.advised

    @property
    def chance(self) -> float:
        """How often it would be by chance."""
        return min(1.0, FIRST / self.choices)


def scores(evidence: "pd.DataFrame", place: Place) -> dict[str, Score]:
    """Return what is known of each system in decisions on the same kind of task, best first."""
    weights: dict[str, list[tuple[float, float, float, int, str]]] = {}
    for _, decision in evidence[evidence["task"] == place.task].groupby("decision"):
        means = _means(decision)
        if len(means) < LEAST_CHOICES:
            continue
        first, spread, mean = decision.iloc[0], float(means["standing"].std(ddof=0)), float(means["standing"].mean())
        near = math.exp(-_distance(first, place))
        for system, row in means.iterrows():
            standing = (row["standing"] - mean) / spread if spread else 0.0
            weights.setdefault(str(system), []).append(
                (near, standing, row["standing"] - mean, int(row["n"]), str(first["metric"]))
            )
    found = [_score(system, each) for system, each in weights.items()]
    return {score.system: score for score in sorted(found, key=lambda score: -score.score)}


def leave_one_out(evidence: "pd.DataFrame") -> Iterator[Check]:
    """Yield, for each decision, whether the evidence of all others puts its measured winner among the first two of its systems."""
    for name, decision in evidence.groupby("decision"):
        means, first = _means(decision), decision.iloc[0]
        if len(means) < LEAST_CHOICES + 1:
            continue
        place = Place(
            task=first["task"],
            backbone=first["backbone"],
            clients=int(first["clients"]),
            rows=float(first["rows"]),
            divergence=None if first["divergence"] is None or math.isnan(first["divergence"]) else float(first["divergence"]),
        )
        known = scores(evidence[evidence["decision"] != name], place)
        order = [system for system in known if system in means.index]
        yield Check(decision=str(name), winner=str(means["standing"].idxmax()), advised=order[:FIRST], choices=len(means))


def _means(decision: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mean over seeds of each system at its best settings; `standing` is the metric, turned so that more is better."""
    sign = decision["higher_is_better"].map({True: 1.0, False: -1.0})
    table = decision.assign(standing=decision["value"] * sign)
    each = table.groupby(["system", "settings"])["standing"].agg(["mean", "size"]).reset_index()
    best = each.loc[each.groupby("system")["mean"].idxmax()].set_index("system")
    return best.rename(columns={"mean": "standing", "size": "n"})


def _distance(row: "pd.Series", place: Place) -> float:
    """Return how far a decision is from a place: 1 for another backbone, for ten times the rows or clients, or for a divergence that differs by 0.5."""
    found = float(row["backbone"] != place.backbone)
    found += abs(math.log10(max(1.0, float(row["rows"])) / max(1.0, place.rows)))
    found += abs(math.log10(max(1, int(row["clients"])) / max(1, place.clients)))
    mine, other = place.divergence, row["divergence"]
    if mine is not None and other is not None and not math.isnan(other):
        found += abs(float(other) - mine) / 0.5
    return found


def _score(system: str, each: Sequence[tuple[float, float, float, int, str]]) -> Score:
    total = sum(near for near, *_ in each)
    metrics = {metric for *_, metric in each}
    return Score(
        system=system,
        score=sum(near * standing for near, standing, *_ in each) / total,
        runs=sum(count for *_, count, _ in each),
        decisions=len(each),
        gain=sum(near * gain for near, _, gain, *_ in each) / total if len(metrics) == 1 else None,
        metric=", ".join(sorted(metrics)),
    )
