"""The public set of a distillation is unlike the clients' data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .evidence import Evidence
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """A classifier distinguishes public examples from the clients' own, or their labels differ. Both thresholds rest on measurements (docs/results.md)."""

    name: ClassVar[str] = "public-set"
    title: ClassVar[str] = "the public set is unlike the clients' data"
    source: ClassVar[str] = "arXiv:2501.04436, on public sets that diverge from private data"
    needs: ClassVar[Sequence[str]] = ("distillation",)

    # area under the ROC curve of that classifier: 0.5 alike, 1 nothing in common; alike sets of some fifty rows reached 0.62 by chance (docs/results.md)
    apart: float = 0.65
    far_apart: float = 0.75
    labels: float = 0.3  # Jensen-Shannon divergence of the labels
    far_labels: float = 0.6

    def applies(self, evidence: Evidence) -> bool:
        return evidence.protocol == "distillation"

    def judge(self, evidence: Evidence) -> Finding | None:
        public = evidence.section("distillation").get("public_set") or {}
        apart, labels = (public.get("told_apart") or {}).get("mean"), public.get("labels_unlike")
        shown = []
        if isinstance(apart, int | float) and apart >= self.apart:
            shown.append(f"a classifier distinguishes them with an area under the curve of {apart:.2f} (0.5 is alike)")
        if isinstance(labels, int | float) and labels >= self.labels:
            shown.append(f"labels differ by {labels:.2f} (Jensen-Shannon)")
        if not shown:
            return None
        far = (apart or 0) >= self.far_apart or (labels or 0) >= self.far_labels
        tried = ["protocol.slice=0.5 protocol.refine=label-statistics", "protocol.label_counts=true"]
        return found(
            self,
            "likely" if far else "possible",
            shown,
            "other public examples, or those of them that fit the clients best",
            tried,
        )
