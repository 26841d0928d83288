"""Logits over a vocabulary cost more than weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..units import bytes_text
from .evidence import Evidence
from .finding import Finding, found

FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class LargeLogits:
    """A distillation sent more than averaging the same weights would have."""

    name: ClassVar[str] = "large-logits"
    title: ClassVar[str] = "whole rows of logits cost more than weights would"
    source: ClassVar[str] = "arXiv:2501.04436, on distillation for generation"
    needs: ClassVar[Sequence[str]] = ("traffic",)

    times: float = 1.0  # of what averaging would send up

    def applies(self, evidence: Evidence) -> bool:
        return evidence.protocol == "distillation" and evidence.setting("protocol.top_k") is None

    def judge(self, evidence: Evidence) -> Finding | None:
        sent = float((evidence.section("traffic").get("by_kind") or {}).get("train", {}).get("up_bytes", 0))
        weights = FLOAT * float(evidence.run.summary.get("trainable_parameters") or 0) * len(evidence.column("clients", "steps"))
        if not weights or sent <= self.times * weights:
            return None
        shown = [
            f"clients sent {bytes_text(sent)} for training; the weights under training would have been {bytes_text(weights)}"
        ]
        return found(
            self,
            "likely",
            shown,
            "the likeliest entries of each row alone, or averaging",
            ["protocol.top_k=8 protocol.temperature=1"],
        )
