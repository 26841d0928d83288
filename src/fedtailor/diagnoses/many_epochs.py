"""Clients train for so long that they drift apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class ManyEpochs:
    """More than ten local epochs, and the loss gets worse for it."""

    name: ClassVar[str] = "many-epochs"
    title: ClassVar[str] = "clients drift apart over many local epochs"
    source: ClassVar[str] = "arXiv:2511.11585, on more than ten local epochs"
    needs: ClassVar[Sequence[str]] = ("rounds.validation_loss",)

    epochs: float = 10
    last: int = 5
    worse: float = 0.01  # of the loss, of the last round over the best
    taken: float = 0.8  # share of the local gain that averaging takes back

    def applies(self, evidence: Evidence) -> bool:
        return not evidence.run.alone and evidence.setting("protocol.local.epochs", 1) > self.epochs

    def judge(self, evidence: Evidence) -> Finding | None:
        losses, back = evidence.last(len(evidence.losses)), evidence.median_taken(self.last)
        worse = losses[-1] / min(losses) - 1 if losses and min(losses) > 0 else 0.0
        if worse < self.worse and (back is None or back < self.taken):
            return None
        epochs = evidence.setting("protocol.local.epochs", 1)
        shown = [f"{epochs:g} local epochs; the last validation loss is {percent(worse)} above the best"]
        shown += [] if back is None else [f"averaging took back {percent(back)} of what local training gained (median)"]
        both = back is not None and back >= self.taken
        return found(self, "likely" if both else "possible", shown, "fewer epochs and more rounds", ["protocol.local.epochs=5"])
