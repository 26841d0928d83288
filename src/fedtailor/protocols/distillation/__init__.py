"""Distillation on public examples."""

from .server import DistillationRun
from .settings import Distillation

__all__ = ["Distillation", "DistillationRun"]
