"""What a run has measured, as the signatures ask for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from ..report.read import Run
from ..report.run.gains import both_losses, taken_back

LOCAL_GAIN = "; a run with evaluation.local_gain=true has it"
REMEDIES = {  # column -> how a run gets it
    "validation_before": LOCAL_GAIN,
    "validation_after": LOCAL_GAIN,
    "validation_loss": "; a run whose clients have validation examples has it (clients.validation_share, data.validation)",
}


@dataclass(frozen=True)
class Evidence:
    """One run, and figures that several signatures need."""

    run: Run

    def setting(self, key: str, default: Any = None) -> Any:
        """Return a setting of the job by its dotted name; `default` where it is absent or null."""
        value: Any = self.run.settings
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return default if value is None else value

    @property
    def protocol(self) -> str:
        """The kind of protocol."""
        return str(self.setting("protocol.kind", ""))

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section of the summary; empty if the run has none."""
        value = self.run.summary.get(name)
        return value if isinstance(value, Mapping) else {}

    def missing(self, needs: Sequence[str]) -> str:
        """Return why something cannot be judged: the first column or section that the run lacks; empty if it has all."""
        for need in needs:
            table, _, column = need.partition(".")
            if not column and not self.section(table):
                return f"no section {table} in summary.json"
            if column and not self.run.has_column(table, column):
                return f"no column {column} in {table}.parquet{REMEDIES.get(column, '')}"
        return ""

    @cached_property
    def losses(self) -> dict[int, float]:
        """Validation loss by round, in rounds that were evaluated; 0 is the start."""
        rounds, losses = self.run.columns("rounds", "round", "validation_loss")
        found = {round: loss for round, loss in zip(rounds, losses, strict=True) if loss is not None}
        start = self.section("validation_loss").get("before")
        return ({0: float(start)} if isinstance(start, int | float) else {}) | dict(sorted(found.items()))

    def last(self, most: int) -> list[float]:
        """Return the last validation losses, at most so many, the start left out."""
        return [loss for round, loss in self.losses.items() if round][-most:]

    def rises(self, most: int, least: float) -> int:
        """Return how often, over the last evaluations, the validation loss rose by more than a share of itself."""
        last = self.last(most + 1)
        return sum(after > before * (1 + least) for before, after in pairwise(last))

    @cached_property
    def gains(self) -> dict[int, float]:
        """By how much local training lowers the clients' validation losses, mean over clients, by round."""
        return {round: fmean(b - a for b, a in losses.values()) for round, losses in sorted(both_losses(self.run).items())}

    @cached_property
    def taken(self) -> dict[int, float]:
        """The share of this gain that averaging takes back, by round; only where there is a gain to speak of, and several were averaged."""
        losses = both_losses(self.run)
        back = {round: taken_back(losses, round) for round in self.gains}
        return {
            round: value / self.gains[round]
            for round, value in back.items()
            # the mean of one client is that client: nothing is taken back, however much the next one loses
            if value is not None
            and len(losses[round]) > 1
            and self.gains[round] >= NO_GAIN * max(self.losses.get(round, 1.0), 1e-9)
        }

    def median_taken(self, most: int) -> float | None:
        """Return the median share that averaging took back over the last rounds; None if it is not known."""
        last = list(self.taken.values())[-most:]
        return median(last) if last else None

    def column(self, table: str, name: str) -> list[float]:
        """Return the numbers in a column."""
        return [float(v) for v in self.run.columns(table, name)[0] if isinstance(v, int | float) and not isinstance(v, bool)]

    @property
    def divergence(self) -> float:
        """How much the clients' data differ, in [0, 1]; 0 if that is not known."""
        value = self.section("data").get("divergence")
        return float(value) if isinstance(value, int | float) else 0.0


NO_GAIN = 0.01  # share of the loss below which a gain is noise, so that nothing is divided by it


def percent(share: float) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.{0 if abs(share) >= 0.1 else 1}f} %"
