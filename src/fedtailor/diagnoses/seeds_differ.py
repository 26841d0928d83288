"""Runs that differ in their seed alone come to different ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import ClassVar

from ..report.wording import figure, spread_figure
from .alike import main_metric, runs_alike_but
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class SeedsDiffer:
    """The spread over seeds is large beside the gain, and clients' data differ."""

    name: ClassVar[str] = "seeds-differ"
    title: ClassVar[str] = "seeds come to different ends: the skew may be more than the trained weights can hold"
    source: ClassVar[str] = "arXiv:2601.00526, on high variance across runs"
    needs: ClassVar[str] = "three runs that differ in their seed alone"

    seeds: int = 3
    spread: float = 0.25  # standard deviation of the gain, by its mean
    divergence: float = 0.3

    def groups(self, runs: Sequence[Evidence]) -> Sequence[Sequence[Evidence]]:
        return [group for group in runs_alike_but("seed", runs) if len(group) >= self.seeds]

    def judge(self, runs: Sequence[Evidence]) -> Finding | None:
        metric = main_metric(runs[0])
        metrics = [run.run.summary["metrics"] for run in runs]
        gains = [
            of["after"][metric] - of["before"][metric]
            for of in metrics
            if metric in of["after"] and metric in of.get("before", {})
        ]
        divergence = fmean(run.divergence for run in runs)
        if len(gains) < self.seeds or divergence < self.divergence or not fmean(gains):
            return None
        spread = stdev(gains) / abs(fmean(gains))
        if spread < self.spread:
            return None
        shown = [
            f"the gain in {metric} is {figure(metric, fmean(gains))} ± {spread_figure(metric, stdev(gains))} over {len(gains)} seeds: {percent(spread)} of itself",
            f"the clients' data differ by {divergence:.2f} (Jensen-Shannon)",
        ]
        tried = ["tuning.hidden=1024"] if runs[0].setting("tuning.kind") == "prefix" else []
        return found(
            self,
            "likely",
            shown,
            "more trained weights, more clients a round, or a proximal term",
            [*tried, "clients.fraction=1.0", "protocol.local.proximal=0.01"],
        )
