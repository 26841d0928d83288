"""Clients that were never asked are served worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from ..metrics.figure import leading
from ..report.wording import figure
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class FewAsked:
    """Those that took part gain, those that did not gain less."""

    name: ClassVar[str] = "few-asked"
    title: ClassVar[str] = "clients that were never asked gain less"
    source: ClassVar[str] = "arXiv:2511.11585, on small shares of clients a round"
    needs: ClassVar[Sequence[str]] = ("evaluations.value",)

    share: float = 0.2  # of all clients that were never asked
    least: int = 3  # clients on each side
    gap: float = 0.2  # of the gain of those that were asked

    def applies(self, evidence: Evidence) -> bool:
        some = evidence.setting("clients.per_round") is not None or evidence.setting("clients.fraction", 1.0) < 1
        return some and not evidence.run.alone

    def judge(self, evidence: Evidence) -> Finding | None:
        figures = evidence.run.client_figures
        metric = leading({name for _, after in figures.values() for name in after})
        sign = 1 if evidence.run.higher_is_better(metric) else -1
        gains = {
            client: sign * (after[metric] - before[metric])
            for client, (before, after) in figures.items()
            if metric in before and metric in after
        }
        clients, steps = evidence.run.columns("clients", "client", "steps")
        asked = {client for client, taken in zip(clients, steps, strict=True) if taken}
        one, other = [v for c, v in gains.items() if c in asked], [v for c, v in gains.items() if c not in asked]
        if min(len(one), len(other)) < self.least or len(other) < self.share * len(gains) or fmean(one) <= 0:
            return None
        gap = 1 - fmean(other) / fmean(one)
        if gap < self.gap:
            return None
        shown = [
            f"{len(other)} of {len(gains)} clients were never asked",
            f"those gained {figure(metric, fmean(other))} in {metric}, the others {figure(metric, fmean(one))}: {percent(gap)} less",
        ]
        rounds = 2 * int(evidence.setting("stop.rounds", 10))
        return found(
            self, "possible", shown, "more clients in a round, or more rounds", ["clients.fraction=1.0", f"stop.rounds={rounds}"]
        )
