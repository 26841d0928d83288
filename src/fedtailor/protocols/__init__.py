"""What server and clients say to each other."""

from collections.abc import Mapping
from typing import TypeAlias

from .averaging import Averaging
from .distillation import Distillation
from .distillation_server import DistillationRun

PROTOCOLS: Mapping[str, type] = {"averaging": Averaging, "distillation": Distillation}
Ready: TypeAlias = Averaging | DistillationRun  # a protocol with all that it needs besides its settings

__all__ = ["PROTOCOLS", "Averaging", "Distillation", "DistillationRun", "Ready"]
