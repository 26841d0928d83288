"""What server and clients say to each other."""

from collections.abc import Mapping
from typing import TypeAlias

from .averaging import Averaging, AveragingRun
from .distillation import Distillation, DistillationRun
from .split import WIRES, Split, SplitRun, Wire

PROTOCOLS: Mapping[str, type] = {"averaging": Averaging, "distillation": Distillation, "split": Split}
Ready: TypeAlias = AveragingRun | DistillationRun | SplitRun  # a protocol with all that it needs besides its settings

__all__ = [
    "PROTOCOLS",
    "WIRES",
    "Averaging",
    "AveragingRun",
    "Distillation",
    "DistillationRun",
    "Ready",
    "Split",
    "SplitRun",
    "Wire",
]
