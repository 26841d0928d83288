"""Averaging of updates."""

from .averaging import Averaging

__all__ = ["Averaging"]
