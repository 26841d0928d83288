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

    @property
    def ratio(self) -> float:
        """Measured over estimated."""
        return self.measured / self.estimated

    @property
    def within(self) -> bool:
        """Whether the estimate was good."""
        return abs(self.ratio - 1) <= BARS[self.what]

    @property
    def off_plan(self) -> bool:
        """Whether it was off by more than twice its bar."""
        return abs(self.ratio - 1) > OFF * BARS[self.what]

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
    return Row(what="memory", of=client, estimated=most.memory.peak, measured=peak_bytes)


def _rows(found: Estimate, figures: Mapping[str, Any]) -> Iterator[Row]:
    for kind, measured in figures["traffic"].items():
        if (each := found.bytes.get(kind)) is not None:
            yield Row(
                what="bytes", of=kind, estimated=each.up + each.down, measured=measured["up_bytes"] + measured["down_bytes"]
            )
    if not found.partial:
        yield Row(what="operations", of="train", estimated=found.flops["formula"], measured=figures["flops"])
    if (row := memory_row(found, figures["peak_bytes"])) is not None:
        yield row
    for part in ("train", "evaluate"):
        if (seconds := found.seconds[part]) is not None and not found.partial:
            yield Row(what="seconds", of=part, estimated=seconds, measured=figures["seconds"][part])
