"""Distillation on public examples."""

from .ready import DistillationRun, distillation_run
from .settings import Distillation

__all__ = ["Distillation", "DistillationRun", "distillation_run"]
