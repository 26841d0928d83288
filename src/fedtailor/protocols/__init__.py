"""What server and clients say to each other."""

from collections.abc import Mapping

from .averaging import Averaging

PROTOCOLS: Mapping[str, type] = {"averaging": Averaging}

__all__ = ["PROTOCOLS", "Averaging"]
