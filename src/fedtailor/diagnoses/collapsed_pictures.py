"""The model makes the same few pictures again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..metrics.figure import OF_REAL
from .evidence import Evidence
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class CollapsedPictures:
    """Pictures cover far less of the real ones than as many real pictures do: by recall, as a distance or a histogram may miss it."""

    name: ClassVar[str] = "collapsed-pictures"
    title: ClassVar[str] = "pictures have collapsed"
    source: ClassVar[str] = "arXiv:2511.11585 (of GANs); recall: arXiv:1904.06991"
    needs: ClassVar[Sequence[str]] = ()

    share: float = 0.25  # of the recall of real pictures at the same number, below which it is a collapse

    def applies(self, evidence: Evidence) -> bool:
        return bool(evidence.setting("task.kind") == "image-generation")

    def judge(self, evidence: Evidence) -> Finding | None:
        figures = evidence.section("metrics").get("after", {})
        recall, of_real = figures.get("recall"), figures.get(f"recall{OF_REAL}")
        if recall is None or not of_real or recall >= self.share * of_real:
            return None
        count = int(figures.get(f"samples{OF_REAL}", 0))
        shown = [f"recall is {recall:.2f} over {count:,} samples, and {of_real:.2f} over as many real pictures"]
        before = evidence.section("metrics").get("before", {}).get("recall")
        had_none = (
            before is not None and before < self.share * of_real
        )  # a model that has not learned to make pictures covers none either
        shown += [] if before is None else [f"before the run it was {before:.2f}"]
        shown += [
            f"{title}: " + ", ".join(f"{name} {times:,}" for name, times in histogram.items())
            for side, title in (("made", "samples by class"), ("real", "real pictures by class"))
            if (histogram := evidence.run.classes("after").get(side))
        ]
        rate = evidence.setting("protocol.local.learning_rate")
        lower = [f"protocol.local.learning_rate={rate / 4:.3g}"] if isinstance(rate, int | float) else []
        return found(
            self,
            "possible" if had_none else "likely",
            shown,
            "a smaller learning rate, clients of a round that together have all labels, or fewer local steps",
            [*lower, "clients.fraction=1.0"],
        )
