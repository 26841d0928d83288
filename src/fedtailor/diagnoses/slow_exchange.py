"""Messages take longer than work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..units import seconds_text
from .events import failures, named
from .evidence import Evidence, percent
from .finding import Finding, found

MARKS = ("TimedOut", "timeout:", "timed out")


@dataclass(frozen=True, kw_only=True)
class SlowExchange:
    """Clients miss the time-out, or most of a round goes into messages."""

    name: ClassVar[str] = "slow-exchange"
    title: ClassVar[str] = "rounds wait for messages"
    source: ClassVar[str] = "arXiv:2501.04436, on activations sent for each example"
    needs: ClassVar[Sequence[str]] = ("clients.exchange_seconds", "clients.seconds")

    share: float = 0.7  # of the time of a round
    least_s: float = 1.0  # spent on messages in all, below which it does not matter

    def applies(self, evidence: Evidence) -> bool:
        return not evidence.run.alone

    def judge(self, evidence: Evidence) -> Finding | None:
        late = failures(evidence.run, MARKS)
        exchange, work = (sum(evidence.column("clients", name)) for name in ("exchange_seconds", "seconds"))
        share = exchange / (exchange + work) if exchange + work > 0 else 0.0
        if not late and (share < self.share or exchange < self.least_s):
            return None
        shown = [named(late)] if late else []
        shown += [f"messages took {seconds_text(exchange)} of the clients' time, {percent(share)}"] if share >= self.share else []
        split = evidence.protocol == "split"
        batch = evidence.setting("protocol.local.batch_size", 8)
        tried = (
            [
                f"protocol.local.batch_size={4 * batch}",
                "protocol.wire={kind: int8}",
                "protocol.labels=with-server protocol.pipeline=weight-stashing",
            ]
            if split
            else ["protocol.wire=bfloat16", "protocol.quorum=0.5"]
        )
        return found(self, "likely", shown, "fewer and smaller messages, or a longer time-out", tried)
