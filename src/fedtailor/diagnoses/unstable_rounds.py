"""Validation loss goes up and down from round to round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..report.wording import figure
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class UnstableRounds:
    """The validation loss rises again and again: what clients learn in a round does not add up."""

    name: ClassVar[str] = "unstable-rounds"
    title: ClassVar[str] = "the loss swings from round to round: averaging is unstable"
    source: ClassVar[str] = "arXiv:2511.11585, on many local epochs and few clients a round"
    needs: ClassVar[Sequence[str]] = ("rounds.validation_loss",)

    last: int = 5  # evaluations that are looked at
    rise: float = 0.02  # of the loss, from one evaluation to the next
    rises: int = 2
    taken: float = 1.0  # share of the local gain that averaging takes back: all

    def applies(self, evidence: Evidence) -> bool:
        return not evidence.run.alone

    def judge(self, evidence: Evidence) -> Finding | None:
        rises = evidence.rises(self.last, self.rise)
        if rises < self.rises:
            return None
        back = evidence.median_taken(self.last)
        if back is not None and back < self.taken:
            return None
        losses = ", ".join(figure("loss", loss) for loss in evidence.last(self.last + 1))
        shown = [f"validation loss over the last evaluations: {losses}; {rises} rises of more than {percent(self.rise)}"]
        shown += [] if back is None else [f"averaging took back {percent(back)} of what local training gained (median)"]
        epochs = evidence.setting("protocol.local.epochs", 1)
        tried = [f"protocol.local.epochs={max(1, int(epochs // 2))}"] if epochs > 1 else []
        tried += (
            ["clients.fraction=1.0"]
            if evidence.setting("clients.per_round") or evidence.setting("clients.fraction", 1.0) < 1
            else []
        )
        tried = tried or ["protocol.local.proximal=0.01"]
        return found(
            self, "possible" if back is None else "likely", shown, "fewer local epochs, or more clients in a round", tried
        )
