"""Known failures of federated tuning, each in a file, looked for in what runs have measured."""

from .diagnose import COMPARISONS, SIGNATURES, diagnose, with_thresholds
from .finding import CERTAINTIES, Certainty, Comparison, Diagnosis, Finding, Signature

__all__ = [
    "CERTAINTIES",
    "COMPARISONS",
    "SIGNATURES",
    "Certainty",
    "Comparison",
    "Diagnosis",
    "Finding",
    "Signature",
    "diagnose",
    "with_thresholds",
]
