"""Split learning: a model cut between clients and server."""

from .bound import BoundSplit
from .split import Split
from .wire import WIRES, Wire

__all__ = ["WIRES", "BoundSplit", "Split", "Wire"]
