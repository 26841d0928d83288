"""More clients on the same data leave each with too few examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from ..report.wording import figure
from .alike import main_metric, runs_alike_but
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class SparseClients:
    """The metric falls from fewer to more clients, which have but a step or two a round."""

    name: ClassVar[str] = "sparse-clients"
    title: ClassVar[str] = "more clients leave each too few examples"
    source: ClassVar[str] = "arXiv:2601.00526, on growing numbers of clients"
    needs: ClassVar[str] = "runs that differ in their number of clients"

    worse: float = 0.05  # of the metric, from fewer to more clients
    batches: float = 4  # of examples that a client should have
    steps: float = 2  # a round, up to which it learns little

    def groups(self, runs: Sequence[Evidence]) -> Sequence[Sequence[Evidence]]:
        return runs_alike_but("clients.count", runs)

    def judge(self, runs: Sequence[Evidence]) -> Finding | None:
        by_clients = sorted(runs, key=_clients)
        few, many = by_clients[0], by_clients[-1]
        metric = main_metric(few)
        one, other = (run.run.summary["metrics"]["after"].get(metric) for run in (few, many))
        if one is None or other is None or not one:
            return None
        worse = (one - other) / abs(one) * (1 if few.run.higher_is_better(metric) else -1)
        examples, steps = (many.column("clients", name) for name in ("examples", "steps"))
        scarce = bool(examples and steps) and (
            median(examples) < self.batches * many.setting("protocol.local.batch_size", 8) or median(steps) <= self.steps
        )
        if worse <= self.worse or not scarce:
            return None
        last = many.last(2)
        falling = len(last) > 1 and last[-1] < last[-2]
        shown = [
            f"{metric} {figure(metric, one)} with {_clients(few)} clients, {figure(metric, other)} with {_clients(many)}: {percent(worse)} worse",
            f"each of {_clients(many)} has {median(examples):.0f} examples and takes {median(steps):.0f} steps a round (median)",
            *(["the loss still fell in the last round: rounds were too few, rather than examples"] if falling else []),
        ]
        rounds = f"stop.rounds={5 * int(many.setting('stop.rounds', 10))}"
        tried = [rounds] if falling else ["clients.min_examples=64", "protocol.local.epochs=2", rounds]
        return found(self, "possible" if falling else "likely", shown, "larger clients, more local epochs, or more rounds", tried)


def _clients(evidence: Evidence) -> int:
    return int(evidence.setting("clients.count") or len(set(evidence.run.columns("clients", "client")[0])))
