"""Averaging of updates."""

from .ready import AveragingRun
from .settings import Averaging

__all__ = ["Averaging", "AveragingRun"]
