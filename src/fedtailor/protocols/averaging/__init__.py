"""Averaging of updates."""

from .ready import AveragingRun, averaging_run
from .settings import Averaging

__all__ = ["Averaging", "AveragingRun", "averaging_run"]
