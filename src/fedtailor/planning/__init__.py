"""What a run will cost, estimated before it: bytes, operations, seconds and memory."""

from .client import ClientEstimate, Counts
from .estimate import Estimate, estimate
from .kept import counts_of, speed_of
from .means import Means, Speed
from .memory import Memory, program_bytes

__all__ = [
    "ClientEstimate",
    "Counts",
    "Estimate",
    "Means",
    "Memory",
    "Speed",
    "counts_of",
    "estimate",
    "program_bytes",
    "speed_of",
]
