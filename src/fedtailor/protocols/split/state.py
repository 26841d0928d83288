"""What split learning keeps from round to round: at a client, and at the server of each client."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...messages import Record
from ...messages.record import tensor, tensors
from ...records import ClientId
from ...tensors import Tensors
from .messages import LossGradient
from .side import MOMENTS


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """What a client keeps with a version of the shared weights."""

    own: Tensors = tensors(prefix="own/")  # weights that stay home
    moments: Tensors = tensors(prefix=MOMENTS)  # of the optimizer of its part, by FIELD/WEIGHT
    lost_H: Tensor | None = tensor(f"lost/{LossGradient.kind}")  # what a code lost of the gradients that it sent


@dataclass(frozen=True, kw_only=True)
class Memory(Record):
    """What the server remembers, by client; see `cuts.Past`."""

    lost: Tensors = tensors(prefix="lost/")  # float32 [H]
    cut: Tensors = tensors(prefix="cut/")  # int64, one number
    means: Tensors = tensors(prefix="means/")  # float64 [5]
    moments: Mapping[ClientId, Tensors] = tensors(prefix=MOMENTS, nested=True)  # by FIELD/WEIGHT
