"""A client has too little memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..units import bytes_text
from .events import failures, named
from .evidence import Evidence
from .finding import Finding, found

MARKS = ("OutOfMemoryError", "MemoryError", "not enough memory", "out of memory")


@dataclass(frozen=True, kw_only=True)
class OutOfMemory:
    """Clients failed for want of memory."""

    name: ClassVar[str] = "out-of-memory"
    title: ClassVar[str] = "clients run out of memory"
    source: ClassVar[str] = "arXiv:2601.00526, on the size of the prefix network"
    needs: ClassVar[Sequence[str]] = ()

    wide: int = 512  # hidden width of a prefix network from which a smaller one is worth trying

    def applies(self, evidence: Evidence) -> bool:
        return True

    def judge(self, evidence: Evidence) -> Finding | None:
        lost = failures(evidence.run, MARKS)
        if not lost:
            return None
        peak = evidence.section("memory").get("peak_bytes")
        shown = [named(lost)] + ([f"{bytes_text(float(peak))} at the peak of the whole process"] if peak else [])
        batch = evidence.setting("protocol.local.batch_size", 8)
        tried = [
            f"protocol.local.batch_size={max(1, batch // 2)}",
            f"protocol.local.accumulate={2 * evidence.setting('protocol.local.accumulate', 1)}",
        ]
        tried += ["protocol.local.checkpointing=true"] if evidence.protocol == "averaging" else []
        if evidence.setting("tuning.kind") == "prefix" and evidence.setting("tuning.hidden", 0) > self.wide:
            tried.insert(0, f"tuning.hidden={self.wide // 4}")
        return found(
            self, "likely", shown, "smaller batches with the same work, recomputed activations, or fewer trained weights", tried
        )
