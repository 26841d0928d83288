"""Attacks of our own on what a run has made, each with the figure of an attacker who knows nothing."""

from .carry_out import AUDITS, audit
from .finding import Finding

__all__ = ["AUDITS", "Finding", "audit"]
