"""Turns a job into its parts."""

from .parts import Parts, assemble, foretell

__all__ = ["Parts", "assemble", "foretell"]
