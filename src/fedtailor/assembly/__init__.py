"""Turns a job into its parts."""

from .estimates import estimate
from .parts import Parts
from .pipeline import assemble

__all__ = ["Parts", "assemble", "estimate"]
