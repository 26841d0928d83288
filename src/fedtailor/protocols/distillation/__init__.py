"""Distillation on public examples."""

from .ready import DistillationRun
from .settings import Distillation

__all__ = ["Distillation", "DistillationRun"]
