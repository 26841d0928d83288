"""Embedders: no head; a text is the mean over its tokens of the last hidden states, made a vector of length 1."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...errors import BackboneError
from ..files import AGAIN
from ..labels import HeadPlan
from ..pooling import Pooling
from .text import TextKind


class Embedder(TextKind):
    """Models that turn texts into vectors, as those of sentence-transformers that take the mean over tokens."""

    name: ClassVar[str] = "embedder"
    title: ClassVar[str] = "embedders"
    causal: ClassVar[bool] = False
    auto: ClassVar[str] = "AutoModel"
    mapping: ClassVar[str] = "MODEL_MAPPING"
    wanted: ClassVar[str] = "models of texts, such as bert"
    pipeline: ClassVar[str] = "sentence-similarity"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Accept any: there are no classes."""

    def check_head(self, config: Any, folder: Path) -> None:
        """Accept any: a head that the folder has is left out."""

    def plan(self, config: Any, labels: Sequence[str], folder: Path) -> HeadPlan | None:
        """Return None: there is no head."""
        return None

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return nothing: embedders are loaded with no more than that."""
        return {}

    def finish(self, model: nn.Module, folder: Path, fresh: tuple[str, ...], pooling: Pooling) -> tuple[str, ...]:
        """Return nothing: a pooler is not read, and all else must be there.

        Raises:
            BackboneError: if weights are missing, so that vectors would be random.
        """
        if lacking := [name for name in fresh if "pooler" not in name.split(".")]:
            raise BackboneError(
                f"backbone folder {folder} lacks the weights of {lacking[0]}, so its vectors would be random; {AGAIN}"
            )
        vars(model)["gives_vectors"] = True  # tunings look for it: there is no head
        return ()
