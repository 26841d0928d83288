"""What a run has made so far, and how a round and an evaluation add to it."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ledger import Sizes, forward_flops, train_flops
from ..messages.rows import Worked, traffic_of, worked
from ..records import ClientId, Round, ServerState
from ..tensors import Tensors

TABLES = ("rounds", "clients", "evaluations")
SECONDS = (
    "train",
    "evaluate",
    "exchange",
    "server",
    "save",
)  # the parts of a run's time; server: its own work, and what a round takes besides


def _fresh_figures() -> dict[str, Any]:
    """Return the counters of a run that has done nothing yet."""
    return {
        "before": None,
        "start_sha256": None,  # of the weights before round 1, where they are kept
        "best_loss": None,
        "best_round": None,
        "without_gain": 0,
        "traffic": {},
        "seconds": {"total": 0.0, **dict.fromkeys(SECONDS, 0.0)},
        "flops": 0.0,
        "planned_rounds": None,  # stop.rounds of the first start: schedules of the learning rate end there
        "peak_bytes": 0,
    }


@dataclass(kw_only=True)
class Progress:
    """All that a run has made so far; a checkpoint is this, written down."""

    state: ServerState
    best: Tensors | None = None  # shared weights of the best round; None until a validation loss is known
    figures: dict[str, Any] = field(default_factory=_fresh_figures)  # counters and choices, JSON values
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    alone: bool = False  # a baseline: its messages stay in one place, and are no traffic

    def absorb(self, round: Round, sizes_of: Callable[[ClientId], Sizes], *, full: bool) -> None:
        """Add what one round made and cost; `sizes_of` says what a client's costs depend on."""
        self.state = round.state
        rows = [{"round": round.index, **row, **self._no_bytes(row)} for row in round.clients]
        having = [(row, work) for row in rows if (work := worked(row)) is not None]
        for row, work in having:
            sizes = sizes_of(work.client)
            flops = train_flops(work.tokens, sizes, full=full) + forward_flops(work.forward_tokens, sizes)
            self.figures["flops"] += row.setdefault("train_flops", flops)  # a protocol may know better
            self.note_peak(work.peak_bytes)
        exchanged = [traffic_of(row) for row in rows]
        for each in exchanged:
            self.add_traffic("train", each.up_bytes, each.down_bytes, each.seconds)
        done = [work for _, work in having]
        seconds = sum(work.seconds for work in done)
        attempt = max((work.attempt for work in done), default=0)
        self.figures["seconds"]["train"] += seconds
        self.figures["seconds"]["evaluate"] += sum(work.evaluation_seconds for work in done)
        self.rows["clients"] += rows
        summary = {
            "round": round.index,
            "clients": sum(work.attempt == attempt for work in done),
            "train_loss": _mean_loss([work for work in done if work.attempt == attempt]),
            "seconds": seconds,
            "up_bytes": sum(each.up_bytes for each in exchanged),
            "down_bytes": sum(each.down_bytes for each in exchanged),
        }
        self.rows["rounds"].append(summary | dict(round.figures))

    def judge(self, validation_loss: float | None, round: int) -> None:
        """Keep the shared weights if their validation loss is the least so far, else count an evaluation without gain.

        A loss that is not a number decides nothing: neither which round is best nor when to stop.
        """
        if validation_loss is None or not math.isfinite(validation_loss):
            return
        best = self.figures["best_loss"]
        if best is None or validation_loss < best:
            self.figures |= {"best_loss": validation_loss, "best_round": round, "without_gain": 0}
            self.best = self.state.shared
        else:
            self.figures["without_gain"] += 1

    def note_figures(self, round: int, scope: str, client: str, figures: Mapping[str, Any]) -> None:
        """Add a row to the table of evaluations for each figure; lists of counts are kept beside, while their round may be the result."""
        for metric, value in figures.items():
            if isinstance(value, list):
                counts = self.figures.setdefault("counts", {}).setdefault(str(round), {})
                counts.setdefault(scope, {}).setdefault(client, {})[metric] = value
                continue
            row = {"round": round, "scope": scope, "client": client, "metric": metric, "value": float(value)}
            self.rows["evaluations"].append(row)

    def drop_figures(self, round: int, scopes: Collection[str], clients: Collection[str]) -> None:
        """Take out what was noted of some clients at a round."""
        rows = self.rows["evaluations"]
        rows[:] = [row for row in rows if not (row["round"] == round and row["scope"] in scopes and row["client"] in clients)]

    def known(self, round: int) -> dict[str, dict[str, dict[str, Any]]]:
        """Return all figures of the weights that were there after a round, by scope and client ("" for the server); with counts where kept."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self.rows["evaluations"]:
            if row["round"] == round:
                found.setdefault(row["scope"], {}).setdefault(row["client"], {})[row["metric"]] = row["value"]
        for scope, clients in self.figures.get("counts", {}).get(str(round), {}).items():
            for client, counts in clients.items():
                found.setdefault(scope, {}).setdefault(client, {}).update(counts)
        return found

    def texts_at(self, scope: str, round: int, name: str) -> str:
        """Return the moment at which the texts of a round's weights were written; `name`, and it is noted, if they were not yet."""
        names: dict[str, str] = self.figures.setdefault("texts_at", {}).setdefault(scope, {})
        return names.setdefault(str(round), name)

    def forget_counts(self) -> None:
        """Let go of the counts of rounds that cannot be the result any more."""
        kept = {str(self.state.version), str(self.figures["best_round"])}
        counts = self.figures.get("counts", {})
        self.figures["counts"] = {round: each for round, each in counts.items() if round in kept}

    def add_traffic(self, kind: str, up_bytes: int, down_bytes: int, seconds: float) -> None:
        """Add the lengths of encoded messages to the counters of their kind."""
        if self.alone:
            self.figures["seconds"]["server"] += seconds
            return
        traffic = self.figures["traffic"].setdefault(kind, {"up_bytes": 0, "down_bytes": 0})
        traffic["up_bytes"] += up_bytes
        traffic["down_bytes"] += down_bytes
        self.figures["seconds"]["exchange"] += seconds

    def _no_bytes(self, row: Mapping[str, Any]) -> dict[str, int]:
        return {name: 0 for name in ("up_bytes", "down_bytes") if self.alone and name in row}

    def note_peak(self, peak_bytes: int) -> None:
        """Take a reading of peak memory into account."""
        self.figures["peak_bytes"] = max(self.figures["peak_bytes"], peak_bytes)


def _mean_loss(done: Sequence[Worked]) -> float | None:
    """Return the mean of the last training losses over clients that reported theirs, by their examples; None if all withheld it."""
    having = [(work.last_loss, work.examples) for work in done if work.last_loss is not None]
    weight = sum(examples for _, examples in having)
    return float(sum(loss * examples for loss, examples in having) / weight) if weight else None
