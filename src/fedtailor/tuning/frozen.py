"""No weight is trained, and nothing is found that could be kept: the weights serve as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from ..pairs import Need
from .adapters.over_peft import check_bare
from .written import Written


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """Train nothing: the weights stay as they are, and nothing of them is exchanged."""

    learning_rates: ClassVar[Mapping[str, float]] = {}
    written: ClassVar[Written] = Written(folder="", files=(), forms=(), reason="no weight was trained")
    needs: ClassVar[Sequence[Need]] = (Need(word="documents", remedy="choose protocol: retrieval, or tuning: lora"),)
    kind: Literal["frozen"] = "frozen"

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model itself, frozen and in evaluation mode; `seed` is not used.

        Raises:
            BackboneError: if the model has an adapter.
        """
        check_bare(model)
        return model.requires_grad_(False).eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return nothing."""
        return {}

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write nothing."""

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Change nothing."""
