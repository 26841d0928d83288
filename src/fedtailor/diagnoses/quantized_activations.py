"""The code of activations loses too much for training to be stable."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import ClassVar

from ..report.wording import figure
from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class QuantizedActivations:
    """What the wire loses is large, and the loss does not fall as it should."""

    name: ClassVar[str] = "quantized-activations"
    title: ClassVar[str] = "the code of activations loses too much"
    source: ClassVar[str] = "arXiv:2501.04436, on quantized activations"
    needs: ClassVar[Sequence[str]] = ("clients.wire_error", "rounds.train_loss")

    error: float = 0.1  # of the norm of activations or gradients
    rises: int = 2  # of the training loss from round to round, in the last five
    least_gain: float = 0.02  # of the training loss, over the whole run

    def applies(self, evidence: Evidence) -> bool:
        return evidence.protocol == "split" and evidence.setting("protocol.wire.kind", "float32") != "float32"

    def judge(self, evidence: Evidence) -> Finding | None:
        activations, gradients = evidence.column("clients", "wire_error"), evidence.column("clients", "gradient_error")
        errors = {"activations": fmean(activations), **({"gradients": fmean(gradients)} if gradients else {})}
        if max(errors.values()) < self.error:
            return None
        losses = evidence.column("rounds", "train_loss")
        last = losses[-6:]
        rises = sum(b > a for a, b in pairwise(last))
        gain = (losses[0] - losses[-1]) / losses[0] if losses and losses[0] > 0 else 0.0
        if rises < self.rises and (len(losses) < 2 or gain >= self.least_gain):
            return None
        shown = [
            "lost on the wire: " + ", ".join(f"{percent(error)} of the norm of {what}" for what, error in errors.items()),
            f"training loss {figure('loss', losses[0])} → {figure('loss', losses[-1])} in {len(losses)} rounds, with {rises} rises among the last {len(last)}",
        ]
        tried = ["protocol.wire={kind: int8}", "protocol.gradients={kind: bfloat16}", "protocol.feedback=true"]
        return found(
            self, "likely" if rises >= self.rises else "possible", shown, "a code that loses less, of gradients first", tried
        )
