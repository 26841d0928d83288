"""What a client of averaging keeps from round to round."""

from dataclasses import dataclass

from ...messages import Record
from ...messages.record import tensors
from ...tensors import Tensors


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """What a client keeps with a version of the shared weights."""

    own: Tensors = tensors(prefix="own/")  # what its personalization keeps
    control: Tensors = tensors(prefix="control/")  # its control variate, by the names of the weights
    moments: Tensors = tensors()  # of its optimizer, by FIELD/WEIGHT
