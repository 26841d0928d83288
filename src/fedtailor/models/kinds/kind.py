"""What every kind of backbone promises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from ..device import Precision
from ..files import Weights
from ..locate import Location
from ..pooling import Pooling


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a backbone's folder says of the model, before any of it is built."""

    settings: Mapping[str, Any]  # of config.json
    weights: Weights


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model as its kind loads it: frozen and in evaluation mode."""

    model: nn.Module
    processor: Any  # what makes a model's inputs of data: a tokenizer for texts
    fresh: tuple[str, ...]  # modules that the folder lacked: random, from the job's seed
    note: str | None  # what was done with the head's rows, if anything
    used: int | None = (
        None  # weights that one unit of work is multiplied by, where they are used otherwise than once; None: all of the body
    )


class Kind(Protocol):
    """How models of one kind are loaded, and what their head gives."""

    name: ClassVar[str]  # as tasks say it in `backbone`
    title: ClassVar[str]  # of several, in messages
    causal: ClassVar[bool]  # whether the head gives logits at each token, of the next one; else one row for each example
    of_texts: ClassVar[bool]  # whether what it takes are tokens
    auto: ClassVar[str]  # the class of their library that loads them
    library: ClassVar[str]  # that they are of
    pipeline: ClassVar[str]  # what model hubs call what they do

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise SettingError unless a model for these classes can be made; there are none where the head has no classes."""

    def read(self, folder: Path) -> Files:
        """Return what the folder says of the model, checked.

        Raises:
            BackboneError: if no model of this kind can be built of it.
        """

    def load(
        self,
        place: Location,
        files: Files,
        *,
        labels: Sequence[str],
        pooling: Pooling,
        precision: Precision,
        device: torch.device,
        seed: int,
    ) -> Loaded:
        """Return the model, on `device`; see `load_backbone` for what is taken.

        Raises:
            BackboneError: if it cannot be loaded, or has another kind of head.
        """

    def plain(self, folder: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> nn.Module:
        """Return the model as its own library loads it, in float32 on the CPU; see `load_plain`."""
