"""Split learning: a model cut between clients and server."""

from ...messages.wires.table import WIRES, Wire
from .bound import BoundSplit
from .split import Split

__all__ = ["WIRES", "BoundSplit", "Split", "Wire"]
