"""Readers: the head gives two logits for each token, that an answer begins there and that it ends there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ..labels import HeadPlan
from ..pooling import Pooling
from .text import TextKind


class Reader(TextKind):
    """Models that mark the answer to a question in a text."""

    name: ClassVar[str] = "reader"
    title: ClassVar[str] = "readers"
    causal: ClassVar[bool] = False
    auto: ClassVar[str] = "AutoModelForQuestionAnswering"
    mapping: ClassVar[str] = "MODEL_FOR_QUESTION_ANSWERING_MAPPING"
    wanted: ClassVar[str] = "models that mark answers, such as bert"
    pipeline: ClassVar[str] = "question-answering"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Accept any: there are no classes."""

    def check_head(self, config: Any, folder: Path) -> None:
        """Accept any: where the folder has another head, a new one is drawn."""

    def plan(self, config: Any, labels: Sequence[str], folder: Path) -> HeadPlan | None:
        """Return None: the two rows of the head are the same for all."""
        return None

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return nothing: readers are loaded with no more than that."""
        return {}

    def finish(self, model: nn.Module, folder: Path, fresh: tuple[str, ...], pooling: Pooling) -> tuple[str, ...]:
        """Return the head, if it is fresh, which then is trained with every tuning."""
        return fresh
