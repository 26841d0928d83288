"""What tunings promise."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..tensors import Tensors

if TYPE_CHECKING:
    from torch import nn

CARRIED = (
    "carried"  # the name of the frozen LoRA adapter beside the trained one; its tensors are MODULE.carried_A.weight and carried_B
)
POOLING = "fedtailor_pooling"  # in a model's config.json, what the head of a classifier reads where that is not what transformers lets it read


class Tuning(Protocol):
    """Which weights are trained, and how they are read and written.

    Names of tensors are stable and sorted; a tuning is a frozen dataclass of its settings.
    """

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""

    def attach(self, model: "nn.Module", seed: int) -> "nn.Module":
        """Return the model with the tuning in place; only the weights under training require gradients, in float32."""

    def parameters(self, model: "nn.Module") -> "Mapping[str, nn.Parameter]":
        """Return the trained parameters themselves, by stable name, sorted."""

    def scale(self, model: "nn.Module") -> Mapping[str, float]:
        """Return alpha / r per module for low-rank tunings, else an empty mapping."""

    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write the trained weights to `folder` in the format that other tools read."""

    def restore(self, model: "nn.Module", folder: Path) -> None:
        """Load what `save` wrote into a model that this tuning is attached to."""


@runtime_checkable
class Exchanging(Protocol):
    """What a tuning has besides, if the tensors that are sent are made of the trained weights and not those themselves.

    All else that is called shared (in messages, checkpoints, aggregation) is then the exchanged tensors.
    """

    def exchanged(self, model: "nn.Module") -> Tensors:
        """Return what is sent and averaged, by stable name, sorted; it may share memory with the model."""

    def receive(self, model: "nn.Module", tensors: Tensors) -> None:
        """Set the trained weights by what came, named and shaped as `exchanged`; what was in place before has no influence."""


@runtime_checkable
class Compared(Protocol):
    """What a tuning has besides, if clients are better compared by what the exchanged tensors make than by those themselves."""

    @property
    def compares(self) -> str:
        """What is compared, in a word that the names of figures begin with."""

    def compared(self, model: "nn.Module", tensors: Tensors) -> Tensors:
        """Return what the exchanged `tensors` make of each layer, by its name, sorted; empty if they do not say.

        The model stays as it is, and so do the tensors.
        """
