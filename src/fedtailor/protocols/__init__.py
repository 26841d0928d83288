"""What server and clients say to each other."""

from collections.abc import Mapping

from .averaging import Averaging
from .split import WIRES, Split, Wire

PROTOCOLS: Mapping[str, type] = {"averaging": Averaging, "split": Split}

__all__ = ["PROTOCOLS", "WIRES", "Averaging", "Split", "Wire"]
