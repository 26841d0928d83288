"""Training stops improving early, since the learning rate is too large."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from ..report.wording import figure
from .evidence import Evidence, percent
from .finding import Certainty, Finding, found


@dataclass(frozen=True, kw_only=True)
class StallsEarly:
    """No better validation loss after the first third of a run, while training losses rise or most gradients are clipped."""

    name: ClassVar[str] = "stalls-early"
    title: ClassVar[str] = "training stalls early: the learning rate may be too large"
    source: ClassVar[str] = "arXiv:2601.00526, on learning rates of the prefix network"
    needs: ClassVar[Sequence[str]] = ("rounds.validation_loss", "clients.first_loss", "clients.last_loss")

    evaluations: int = 3  # without a better loss
    early: float = 1 / 3  # share of the rounds in which the best loss must lie
    least_gain: float = 0.02  # of the loss at the start, below which nothing was learned
    rise: float = 0.01  # of the training loss within a round, on average
    rows: float = 0.5  # share of clients' rounds that end with no smaller loss than they began with
    clipped: float = 0.9  # share of the steps

    def applies(self, evidence: Evidence) -> bool:
        return not evidence.run.alone

    def judge(self, evidence: Evidence) -> Finding | None:
        losses = {round: loss for round, loss in evidence.losses.items() if round}
        if len(losses) < self.evaluations:
            return None
        start = evidence.losses.get(0, max(losses.values()))
        best = min(losses, key=lambda round: losses[round])
        after = sum(round > best for round in losses)
        learned = (start - losses[best]) / start if start > 0 else 0.0
        stalled = after >= self.evaluations and best <= max(1.0, self.early * max(losses))
        if learned >= self.least_gain and not stalled:
            return None
        first, last = evidence.column("clients", "first_loss"), evidence.column("clients", "last_loss")
        worse = fmean(b >= a for a, b in zip(first, last, strict=False)) if first and last else 0.0
        risen = fmean(last) / fmean(first) - 1 if first and last and fmean(first) > 0 else 0.0
        clipped = evidence.column("clients", "clipped")
        if not (worse >= self.rows and risen >= self.rise) and not (clipped and fmean(clipped) >= self.clipped):
            return None
        shown = [
            f"best validation loss {figure('loss', losses[best])} after round {best} of {max(losses)} ({figure('loss', start)} at the start)",
            f"{percent(worse)} of the clients' rounds ended with no smaller training loss than they began with",
        ]
        shown += [f"{percent(fmean(clipped))} of all steps were clipped"] if clipped else []
        rate = evidence.setting("protocol.local.learning_rate")
        tried = [f"protocol.local.learning_rate={rate / 3:.2g}"] if isinstance(rate, int | float) else []
        certainty: Certainty = "likely" if losses[best] >= start or learned < self.least_gain else "possible"
        return found(
            self, certainty, shown, "a third of the learning rate, or a warm-up", [*tried, "protocol.local.warmup_steps=20"]
        )
