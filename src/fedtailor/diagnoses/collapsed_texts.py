"""What the model writes no longer depends on what it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from .evidence import Evidence, percent
from .finding import Certainty, Finding, found


@dataclass(frozen=True, kw_only=True)
class CollapsedTexts:
    """Generated texts are alike, empty, or repeat themselves."""

    name: ClassVar[str] = "collapsed-texts"
    title: ClassVar[str] = "generated texts have collapsed"
    source: ClassVar[str] = "arXiv:2511.11585, there on generated images"
    needs: ClassVar[Sequence[str]] = ()

    least: int = 10  # texts, below which nothing is said
    distinct: float = 0.2  # share of distinct texts among the distinct references' number
    empty: float = 0.2
    pairs: float = 0.3  # distinct pairs of words, over those of the references

    def applies(self, evidence: Evidence) -> bool:
        return bool(evidence.run.texts("after"))

    def judge(self, evidence: Evidence) -> Finding | None:
        rows = [row for row in evidence.run.texts("after") if row.get("references")]
        if len(rows) < self.least:
            return None
        texts, wanted = [str(row["text"]).strip() for row in rows], [str(row["references"][0]).strip() for row in rows]
        empty = fmean(not text for text in texts)
        distinct = len(set(texts)) / max(1, len(set(wanted)))
        pairs, due = _distinct_pairs(texts), _distinct_pairs(wanted)
        shown = []
        if empty > self.empty:
            shown.append(f"{percent(empty)} of {len(rows)} texts are empty")
        if distinct < self.distinct:
            shown.append(f"{len(set(texts))} different texts for {len(set(wanted))} different references")
        if due > 0 and pairs < self.pairs * due and empty <= self.empty:
            shown.append(f"{percent(pairs)} of the pairs of words are distinct, {percent(due)} in the references")
        if not shown:
            return None
        certainty: Certainty = "likely" if len(shown) > 1 or empty > self.empty else "possible"
        return found(
            self,
            certainty,
            shown,
            "more rounds, clients drawn so that all kinds of data take part, or a part of the model for each client",
            [
                "stop.rounds=" + str(2 * int(evidence.setting("stop.rounds", 10))),
                "clients.select=stratified",
                "clients.fraction=1.0",
            ],
        )


def _distinct_pairs(texts: Sequence[str]) -> float:
    """Return the share of distinct pairs of neighbouring words; 0 if there are none."""
    pairs = [pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0
