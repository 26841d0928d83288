"""What was estimated beside what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .estimate import Estimate

BARS: Mapping[str, float] = {
    "bytes": 0.01,
    "operations": 0.05,
    "memory": 0.25,
    "seconds": 0.30,
}  # within which an estimate is good
OFF = 2.0  # times its bar: from there on a run is off its plan


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number that was estimated and measured."""

    what: str  # of BARS
    of: str  # such as the kind of message
    estimated: float
    measured: float
    bound: str = ""  # "most" or "least" where the estimate is a bound, "rough" where it may be off either way

    @property
    def ratio(self) -> float:
        """Measured over estimated."""
        return self.measured / self.estimated

    @property
    def within(self) -> bool:
        """Whether the estimate was good, or the bound kept to."""
        return self._beyond() <= BARS[self.what]

    @property
    def off_plan(self) -> bool:
        """Whether it was off by more than twice its bar."""
        return self._beyond() > OFF * BARS[self.what]

    def _beyond(self) -> float:
        """Return by which share of the estimate the measured value lies beyond it, on the sides that count."""
        more = self.ratio - 1
        return {"most": more, "least": -more, "rough": 0.0}.get(self.bound, abs(more))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as summary.json has them."""
        return {**asdict(self), "ratio": self.ratio, "within": self.within}


def beside(found: Estimate, figures: Mapping[str, Any]) -> list[Row]:
    """Return what was estimated for the rounds that were carried out, beside what the run measured; what is known on one side alone is left out.

    Args:
        figures: of the run's progress: traffic by kind, operations, seconds, peak of memory.
    """
    return [row for row in _rows(found, figures) if row.estimated and row.measured]


def memory_row(found: Estimate, peak_bytes: float) -> Row | None:
    """Return the memory of the largest client; None where activations were not counted."""
    if found.largest is None or found.largest[1].memory.activations is None or not peak_bytes:
        return None
    client, most = found.largest
    return Row(what="memory", of=client, estimated=most.memory.peak, measured=peak_bytes, bound=found.bounds.get("memory", ""))


def seconds_row(found: Estimate, part: str, *, measured: float, share: float = 1.0) -> Row | None:
    """Return the seconds of one part of the work, of so large a share of the rounds; None where they were not estimated."""
    seconds = found.seconds[part]
    if seconds is None or found.partial:
        return None
    bound = found.bounds.get(f"seconds of {part}", "")
    return Row(what="seconds", of=part, estimated=seconds * share, measured=measured, bound=bound)


def _rows(found: Estimate, figures: Mapping[str, Any]) -> Iterator[Row]:
    for kind, measured in figures["traffic"].items():
        if (each := found.bytes.get(kind)) is not None:
            yield Row(
                what="bytes",
                of=kind,
                estimated=each.up + each.down,
                measured=measured["up_bytes"] + measured["down_bytes"],
                bound=found.bounds.get("bytes", ""),
            )
    if not found.partial:
        bound = found.bounds.get("operations", "")
        yield Row(what="operations", of="train", estimated=found.flops["formula"], measured=figures["flops"], bound=bound)
    if (row := memory_row(found, figures["peak_bytes"])) is not None:
        yield row
    for part in ("train", "evaluate"):
        if (row := seconds_row(found, part, measured=figures["seconds"][part])) is not None:
            yield row
