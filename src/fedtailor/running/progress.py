"""What a run has made so far, and how a round and an evaluation add to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..ledger import Sizes, forward_flops, train_flops
from ..records import ClientId, Round, ServerState
from ..tensors import Tensors

TABLES = ("rounds", "clients", "evaluations")


def _fresh_figures() -> dict[str, Any]:
    """Return the counters of a run that has done nothing yet."""
    return {
        "before": None,
        "start_sha256": None,  # of the weights before round 1, where they are kept
        "best_loss": None,
        "best_round": None,
        "without_gain": 0,
        "traffic": {},
        "seconds": {"total": 0.0, "train": 0.0, "evaluate": 0.0, "exchange": 0.0},
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

    def absorb(self, round: Round, sizes_of: Callable[[ClientId], Sizes], *, full: bool) -> None:
        """Add what one round made and cost; `sizes_of` tells what a client's costs depend on."""
        self.state = round.state
        rows = [{"round": round.index, **row} for row in round.clients]
        trained = [row for row in rows if "tokens" in row]
        for row in trained:
            sizes = sizes_of(row["client"])
            flops = train_flops(row["tokens"], sizes, full=full) + forward_flops(row.get("forward_tokens", 0), sizes)
            row.setdefault("train_flops", flops)  # a protocol may know better
            self.figures["flops"] += row["train_flops"]
            self.note_peak(row.get("peak_bytes", 0))
        for row in rows:
            self.add_traffic("train", row.get("up_bytes", 0), row.get("down_bytes", 0), row.get("exchange_seconds", 0.0))
        seconds = sum(row["seconds"] for row in trained)
        last = [row for row in trained if row["attempt"] == max(other["attempt"] for other in trained)]
        self.figures["seconds"]["train"] += seconds
        self.rows["clients"] += rows
        summary = {
            "round": round.index,
            "clients": len(last),
            "train_loss": _mean_by_examples(last, "last_loss"),
            "seconds": seconds,
            "up_bytes": sum(row.get("up_bytes", 0) for row in rows),
            "down_bytes": sum(row.get("down_bytes", 0) for row in rows),
        }
        self.rows["rounds"].append(summary | dict(round.figures))

    def judge(self, validation_loss: float | None, round: int) -> None:
        """Keep the shared weights if their validation loss is the least so far, else count an evaluation without gain."""
        if validation_loss is None:
            return
        best = self.figures["best_loss"]
        if best is None or validation_loss < best:
            self.figures |= {"best_loss": validation_loss, "best_round": round, "without_gain": 0}
            self.best = self.state.shared
        else:
            self.figures["without_gain"] += 1

    def note_figures(self, round: int, scope: str, client: str, figures: Mapping[str, float]) -> None:
        """Add a row to the table of evaluations for each figure."""
        self.rows["evaluations"] += [
            {"round": round, "scope": scope, "client": client, "metric": metric, "value": float(value)}
            for metric, value in figures.items()
        ]

    def add_traffic(self, kind: str, up_bytes: int, down_bytes: int, seconds: float) -> None:
        """Add the lengths of encoded messages to the counters of their kind."""
        traffic = self.figures["traffic"].setdefault(kind, {"up_bytes": 0, "down_bytes": 0})
        traffic["up_bytes"] += up_bytes
        traffic["down_bytes"] += down_bytes
        self.figures["seconds"]["exchange"] += seconds

    def note_peak(self, peak_bytes: int) -> None:
        """Take a reading of peak memory into account."""
        self.figures["peak_bytes"] = max(self.figures["peak_bytes"], peak_bytes)


def _mean_by_examples(rows: list[dict[str, Any]], name: str) -> float | None:
    """Return the mean over clients that reported it; None if all withheld it."""
    having = [row for row in rows if name in row]
    weight = sum(row["examples"] for row in having)
    return float(sum(row[name] * row["examples"] for row in having) / weight) if weight else None
