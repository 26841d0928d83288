"""Averaging of LoRA factors is biased where ranks differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from .evidence import Evidence
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class UnequalRanks:
    """The mean of the factors is far from the mean of the products."""

    name: ClassVar[str] = "unequal-ranks"
    title: ClassVar[str] = "averaged LoRA factors are far from the averaged change"
    source: ClassVar[str] = "arXiv:2501.04436, on clients with different ranks"
    needs: ClassVar[Sequence[str]] = ("rounds.bias",)

    bias: float = 0.3  # distance of the two, by the norm of the second
    exact: tuple[str, ...] = ("flexlora", "raflora", "flora", "fedex-lora", "fedsvd", "ffa-lora")

    def applies(self, evidence: Evidence) -> bool:
        return evidence.setting("tuning.kind") == "lora" and evidence.setting("protocol.aggregation.kind") not in self.exact

    def judge(self, evidence: Evidence) -> Finding | None:
        bias = fmean(evidence.column("rounds", "bias"))
        if bias < self.bias:
            return None
        rank = evidence.setting("tuning.rank", 8)
        overrides = evidence.setting("clients.overrides", {})
        ranks = sorted({of["tuning"]["rank"] for of in overrides.values() if (of.get("tuning") or {}).get("rank")} | {rank})
        shown = [f"bias {bias:.2f}, mean over rounds" + (f"; ranks {', '.join(map(str, ranks))}" if len(ranks) > 1 else "")]
        tried = ["protocol.aggregation=raflora"] if len(ranks) > 1 else ["protocol.aggregation=ffa-lora"]
        return found(
            self,
            "likely" if len(ranks) > 1 else "possible",
            shown,
            "a rule that averages products, or that trains one factor alone",
            tried,
        )
