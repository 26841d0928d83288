"""Turns a job into its parts."""

from .estimates import foretell
from .parts import Parts
from .pipeline import assemble

__all__ = ["Parts", "assemble", "foretell"]
