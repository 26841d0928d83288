"""The backbone knows newer data less well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..report.wording import figure
from .alike import runs_alike_but
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class StaleBackbone:
    """Before any training, the loss on the data of the last run is above that on the data of the first one."""

    name: ClassVar[str] = "stale-backbone"
    title: ClassVar[str] = "the backbone knows newer data less well"
    source: ClassVar[str] = "arXiv:2511.11585, on backbones that become outdated"
    needs: ClassVar[str] = "runs of one backbone on older and newer data, the oldest first"

    worse: float = 0.2  # of the loss before training

    def groups(self, runs: Sequence[Evidence]) -> Sequence[Sequence[Evidence]]:
        return runs_alike_but("data", runs)

    def judge(self, runs: Sequence[Evidence]) -> Finding | None:
        losses = [run.run.summary["metrics"].get("before", {}).get("loss") for run in runs]
        known = [loss for loss in losses if isinstance(loss, int | float)]
        if len(known) < 2 or known[-1] < known[0] * (1 + self.worse):
            return None
        shown = [
            f"loss before training {figure('loss', known[0])} on the first run's data, {figure('loss', known[-1])} on the last one's: {percent(known[-1] / known[0] - 1)} above"
        ]
        return found(self, "possible", shown, "a newer backbone, or public text of the newer kind to pre-train on")
