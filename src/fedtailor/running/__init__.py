"""Carries a job out, and keeps the run folder."""

from .drive import Watcher, carry_out, run
from .folder import RunFolder
from .result import Result

__all__ = ["Result", "RunFolder", "Watcher", "carry_out", "run"]
