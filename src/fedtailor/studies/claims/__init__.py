"""What the papers claim, as data: each claim with the command that tests it, the evidence found here, and a verdict by one rule."""

from .claim import Claim, Comparison, Paper, claim_named, load_papers
from .collect import Runs, cells_of, effects_in, finding
from .evidence import Evidence, append_evidence, read_all
from .verdict import VERDICTS, Judged, judge, verdict_of
from .words import effects_text, interval_text

__all__ = [
    "VERDICTS",
    "Claim",
    "Comparison",
    "Evidence",
    "Judged",
    "Paper",
    "Runs",
    "append_evidence",
    "cells_of",
    "claim_named",
    "effects_in",
    "effects_text",
    "finding",
    "interval_text",
    "judge",
    "load_papers",
    "read_all",
    "verdict_of",
]
