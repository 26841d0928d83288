"""Embedders: no head; a text is the mean over its tokens of the last hidden states, made a vector of length 1."""

from pathlib import Path
from typing import ClassVar

from torch import nn

from ...errors import BackboneError
from ..files import AGAIN
from ..pooling import Pooling
from .unlabelled import Unlabelled


class Embedder(Unlabelled):
    """Models that turn texts into vectors, as those of sentence-transformers that take the mean over tokens."""

    name: ClassVar[str] = "embedder"
    title: ClassVar[str] = "embedders"
    auto: ClassVar[str] = "AutoModel"
    mapping: ClassVar[str] = "MODEL_MAPPING"
    wanted: ClassVar[str] = "models of texts, such as bert"
    pipeline: ClassVar[str] = "sentence-similarity"

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
