"""Kinds of models of texts that have no classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..labels import HeadPlan
from .text import TextKind


class Unlabelled(TextKind):
    """Models whose head, if they have one, is the same for all: whatever head a folder has is no matter."""

    causal: ClassVar[bool] = False

    def check_labels(self, labels: Sequence[str]) -> None:
        """Accept any: there are no classes."""

    def check_head(self, config: Any, folder: Path) -> None:
        """Accept any: a head that is not wanted is left out, and one that is lacking is drawn."""

    def plan(self, config: Any, labels: Sequence[str], folder: Path) -> HeadPlan | None:
        """Return None: no row of a head belongs to a class."""
        return None

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return nothing: they are loaded with no more than that."""
        return {}
