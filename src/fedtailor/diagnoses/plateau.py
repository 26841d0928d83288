"""Accuracy plateaus since clients pull in different directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from ..report.wording import figure
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Clients whose data differ still learn by themselves, and averaging takes it back."""

    name: ClassVar[str] = "plateau"
    title: ClassVar[str] = "a plateau under non-IID data"
    source: ClassVar[str] = "arXiv:2501.04436, on averaging under severe skew"
    needs: ClassVar[Sequence[str]] = ("rounds.validation_loss", "clients.validation_before", "clients.validation_after")

    divergence: float = 0.5
    last: int = 5  # evaluations that are looked at
    slope: float = 0.002  # of the loss a round
    gain: float = 0.02  # of the loss, that clients still gain by themselves
    taken: float = 0.8  # share of it that averaging takes back

    def applies(self, evidence: Evidence) -> bool:
        return not evidence.run.alone and evidence.divergence >= self.divergence

    def judge(self, evidence: Evidence) -> Finding | None:
        losses = evidence.last(self.last)
        back = evidence.median_taken(self.last)
        if len(losses) < self.last or back is None:
            return None
        slope = (losses[0] - losses[-1]) / (len(losses) - 1) / losses[0]
        gain = fmean(list(evidence.gains.values())[-self.last :]) / losses[-1]
        if slope >= self.slope or gain < self.gain or back < self.taken:
            return None
        shown = [
            f"the clients' data differ by {evidence.divergence:.2f} (Jensen-Shannon)",
            f"validation loss {figure('loss', losses[0])} → {figure('loss', losses[-1])} over the last {len(losses)} evaluations ({percent(slope)} a round)",
            f"clients still gain {percent(gain)} a round by themselves; averaging takes {percent(back)} of it back (median)",
        ]
        rate = evidence.setting("protocol.local.learning_rate")
        tried = ["protocol.aggregation=ffa-lora"] if evidence.setting("tuning.kind") == "lora" else []
        tried += [f"protocol.local.learning_rate={rate * 3:.2g}"] if tried and isinstance(rate, int | float) else []
        tried += ["personalization=finetune"] if evidence.setting("personalization.kind", "none") == "none" else []
        return found(
            self,
            "likely",
            shown,
            "a rule for factors of LoRA that differ, a personal part for each client, or a proximal term",
            [*tried, "protocol.local.proximal=0.01"],
        )
