"""Which technique to choose for a job: what fits, and what finished runs say of it."""

from .candidates import Candidate, Search, candidates_of, papers_rule
from .evidence import evidence_from, read_evidence
from .ranking import Check, Place, Score, leave_one_out, scores

__all__ = [
    "Candidate",
    "Check",
    "Place",
    "Score",
    "Search",
    "candidates_of",
    "evidence_from",
    "leave_one_out",
    "papers_rule",
    "read_evidence",
    "scores",
]
