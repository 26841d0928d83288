"""The verdict on a claim, by one rule.

Effects are paired by seed: same data, same start, one thing changed. From three seeds on, the 95 % interval of their mean decides;
below that a claim is open, whatever one run shows. What does not depend on chance (bytes, operations, refusals) is counted once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .claim import Claim, Comparison
from .evidence import LEAST_SEEDS, Evidence

REPRODUCED, DIRECTION, MIXED, CONTRADICTED = "reproduced", "direction reproduced", "mixed", "contradicted"
OPEN, NOT_RUN, UNTESTABLE = "open", "not run", "not testable here"
VERDICTS: Mapping[str, str] = {
    REPRODUCED: "the interval is on the claimed side, and reaches the paper's size where it names one",
    DIRECTION: "the interval is on the claimed side, and short of the paper's size",
    MIXED: "one comparison is on the claimed side, another on the other",
    CONTRADICTED: "the interval is on the other side, or holds only effects too small to matter",
    OPEN: f"run, but fewer than {LEAST_SEEDS} paired seeds are known, or the interval decides nothing",
    NOT_RUN: "no evidence yet; the hours it would take are stated",
    UNTESTABLE: "nothing here could decide it, for the reason stated",
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A comparison, the evidence that decides it, and what it comes to."""

    comparison: Comparison
    evidence: Evidence | None
    verdict: str


def judge(claim: Claim, lines: Sequence[Evidence]) -> list[Judged]:
    """Return each comparison of a claim with its verdict: of several lines that with the most seeds counts, of equals the last.

    Args:
        lines: the evidence for this claim.
    """
    judged = []
    for comparison in claim.compare:
        own = [line for line in lines if line.comparison == comparison.name]
        best = max(enumerate(own), key=lambda one: (one[1].count, one[0]))[1] if own else None
        judged.append(Judged(comparison=comparison, evidence=best, verdict=_one(comparison, best, claim.counted)))
    return judged


def verdict_of(claim: Claim, judged: Sequence[Judged]) -> str:
    """Return the verdict on a claim whose comparisons must all hold."""
    words = {each.verdict for each in judged}
    held = words & {REPRODUCED, DIRECTION}
    if claim.untestable and not words - {NOT_RUN, OPEN}:
        return UNTESTABLE
    if CONTRADICTED in words:
        return MIXED if held else CONTRADICTED
    if words <= held:
        return DIRECTION if DIRECTION in words else REPRODUCED
    return NOT_RUN if words == {NOT_RUN} else OPEN


def _one(comparison: Comparison, evidence: Evidence | None, counted: bool) -> str:
    if evidence is None:
        return NOT_RUN
    interval = evidence.interval()
    if counted and evidence.count:
        low, high = interval or (evidence.effects[0], evidence.effects[0])
    elif interval is None or evidence.count < LEAST_SEEDS:
        return OPEN
    else:
        low, high = interval
    small = -comparison.matters < low and high < comparison.matters
    if comparison.direction == "same":
        return REPRODUCED if small else CONTRADICTED if low > comparison.matters or high < -comparison.matters else OPEN
    sign = 1 if comparison.direction == "higher" else -1
    low, high = sorted((sign * low, sign * high))
    if small or high < 0:
        return CONTRADICTED
    if low <= 0:
        return OPEN
    reached = comparison.size is None or high >= abs(comparison.size) - comparison.margin
    return REPRODUCED if reached else DIRECTION
