"""Readers: the head gives two logits for each token, that an answer begins there and that it ends there."""

from pathlib import Path
from typing import ClassVar

from torch import nn

from ..pooling import Pooling
from .unlabelled import Unlabelled


class Reader(Unlabelled):
    """Models that mark the answer to a question in a text."""

    name: ClassVar[str] = "reader"
    title: ClassVar[str] = "readers"
    auto: ClassVar[str] = "AutoModelForQuestionAnswering"
    mapping: ClassVar[str] = "MODEL_FOR_QUESTION_ANSWERING_MAPPING"
    wanted: ClassVar[str] = "models that mark answers, such as bert"
    pipeline: ClassVar[str] = "question-answering"

    def finish(self, model: nn.Module, folder: Path, fresh: tuple[str, ...], pooling: Pooling) -> tuple[str, ...]:
        """Return the head, if it is fresh, which then is trained with every tuning."""
        return fresh
