"""Carries a job out, and keeps the run folder."""

from .drive import Result, Watcher, carry_out, run
from .folder import RunFolder

__all__ = ["Result", "RunFolder", "Watcher", "carry_out", "run"]
