"""What distillation keeps from round to round: at a client, and at the server."""

from dataclasses import dataclass

from torch import Tensor

from ...messages import Record
from ...messages.record import tensor, tensors
from ...tensors import Tensors
from .messages import BEFORE, NOW


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """What a client keeps: its model, and what it said of itself, so that it says the same again."""

    own: Tensors = tensors(prefix="own/")  # its weights
    fit: Tensor | None = tensor("told/fit")  # float64 [1], or [0] where nothing could be found; see `Said.public_fit`
    counts: Tensor | None = tensor("told/counts")  # int64 [C]; see `Said.label_counts`
    moments: Tensors = tensors()  # of its optimizer, by FIELD/WEIGHT


@dataclass(frozen=True, kw_only=True)
class Taught(Record):
    """What the server keeps: what its model said last, and what clients said of themselves, by their ids."""

    logits: Tensors = tensors()  # as they are encoded in messages
    now: Tensor | None = tensor(NOW)  # one bit for each public row, where rows are drawn: those of the round to come
    before: Tensor | None = tensor(BEFORE)  # those that the logits are of
    fits: Tensors = tensors(prefix="fit/")  # float64 [1]
    counts: Tensors = tensors(prefix="counts/")  # int64 [C]
    scores: Tensors = tensors(prefix="scores/")  # uint8, one for each public row
