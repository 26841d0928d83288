"""Classifiers: the head gives one row of logits for each text, one for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...errors import SettingError
from ..labels import HeadPlan, plan_head
from ..pooling import Pooling, is_unread, pool_mean, reads_mean
from .text import TextKind


class Classifier(TextKind):
    """Models that name the class of a text."""

    name: ClassVar[str] = "classifier"
    title: ClassVar[str] = "classifiers"
    causal: ClassVar[bool] = False
    auto: ClassVar[str] = "AutoModelForSequenceClassification"
    mapping: ClassVar[str] = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING"
    wanted: ClassVar[str] = "models that name classes, such as bert"
    pipeline: ClassVar[str] = "text-classification"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise SettingError unless there are two classes at least."""
        if len(labels) < 2:
            raise SettingError(f"labels must name at least two classes for a classifier, got {list(labels)!r}")

    def check_head(self, config: Any, folder: Path) -> None:
        """Accept any: where the folder has another head, a new one is drawn."""

    def plan(self, config: Any, labels: Sequence[str], folder: Path) -> HeadPlan | None:
        """Return which row of the folder's head belongs to each class."""
        return plan_head(config, labels, folder)

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return nothing: classifiers are loaded with no more than that."""
        return {}

    def finish(self, model: nn.Module, folder: Path, fresh: tuple[str, ...], pooling: Pooling) -> tuple[str, ...]:
        """Let the head read the mean over tokens, if asked for or if the folder is of a model that did; a pooler that is not read is not trained."""
        if pooling != "mean" and not reads_mean(model):
            return fresh
        pool_mean(model)
        return tuple(name for name in fresh if not is_unread(model, name))
