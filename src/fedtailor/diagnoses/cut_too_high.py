"""Clients of a split hold more blocks than they can compute in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..units import seconds_text
from .evidence import Evidence
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class CutTooHigh:
    """The client's part of a split takes far longer than the server's."""

    name: ClassVar[str] = "cut-too-high"
    title: ClassVar[str] = "the cut leaves clients too much to compute"
    source: ClassVar[str] = "arXiv:2501.04436, on split points and what clients can compute"
    needs: ClassVar[Sequence[str]] = ("rounds.server_seconds", "clients.seconds")

    times: float = 3.0

    def applies(self, evidence: Evidence) -> bool:
        return evidence.protocol == "split"

    def judge(self, evidence: Evidence) -> Finding | None:
        clients, server = sum(evidence.column("clients", "seconds")), sum(evidence.column("rounds", "server_seconds"))
        if server <= 0 or clients < self.times * server:
            return None
        cut = evidence.setting("protocol.cut")
        shown = [f"clients computed {seconds_text(clients)}, the server {seconds_text(server)}; cut {cut}"]
        lower = [f"protocol.cut={max(1, cut // 2)}"] if isinstance(cut, int) and cut > 1 else []
        return found(self, "possible", shown, "a lower cut, which says more of the texts; fedtailor cut compares them", lower)
