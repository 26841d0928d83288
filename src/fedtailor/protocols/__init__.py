"""What server and clients say to each other."""

from collections.abc import Mapping
from typing import TypeAlias

from .averaging import Averaging, AveragingRun
from .distillation import Distillation, DistillationRun
from .prompting import METHODS, Method, Prompting, PromptingRun
from .split import WIRES, BoundSplit, Split, Wire

PROTOCOLS: Mapping[str, type] = {"averaging": Averaging, "distillation": Distillation, "split": Split, "prompting": Prompting}
Ready: TypeAlias = (
    AveragingRun | DistillationRun | BoundSplit | PromptingRun
)  # a protocol with all that it needs besides its settings

__all__ = [
    "METHODS",
    "PROTOCOLS",
    "WIRES",
    "Averaging",
    "AveragingRun",
    "BoundSplit",
    "Distillation",
    "DistillationRun",
    "Method",
    "Prompting",
    "PromptingRun",
    "Ready",
    "Split",
    "Wire",
]
